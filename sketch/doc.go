// Package sketch is arithmetic and bytes: small mergeable summaries of streams.
// No clock, file, goroutine or logger.
//
// A sketch takes in values or hashed items one by one, answers with an
// [Estimate], merges with others of its kind, and encodes itself. Whether a
// stream was seen by one sketch or by many that were merged makes no difference,
// or one that is stated.
package sketch
