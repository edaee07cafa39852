package notify

// Fingerprint is for tests that compare it with Alertmanager's.
var Fingerprint = fingerprint
