package ingest

import "context"

// Source is a log whose partitions a group of processes shares, so that they
// come and go.
type Source interface {
	// Run takes part in the group until ctx is done. It keeps telling the
	// owner what is this process's; when it returns, nothing is.
	Run(ctx context.Context, owner Owner) error
}

// Owner reads the partitions of a source that are this process's.
type Owner interface {
	// Assigned gives all of them, by name, with what opens the log of one. A
	// partition that was there before is read on; one that no longer is
	// belongs to another process, which may have begun already: whoever is
	// first with a segment is right.
	Assigned(partitions map[string]func() Log)

	// Revoked says that the group is about to deal the partitions out anew.
	// What is in memory is best stored now; reading may go on.
	Revoked()
}
