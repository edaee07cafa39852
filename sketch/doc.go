// Package sketch is arithmetic and bytes: small mergeable summaries of streams.
// No clock, file, goroutine or logger.
//
// A sketch takes in values or hashed items one by one, answers with an
// [Estimate], merges with others of its kind, and encodes itself. Whether a
// stream was seen by one sketch or by many that were merged makes no difference,
// or one that is stated.
//
//	sketch      answers               guarantee                      bytes encoded (10 / 10⁶ events)   merge
//	HLL         how many different    0.81 % standard error, p=14    49 / 12,296                       exact, idempotent
//	Theta       how many, and how     1/√(k-1) of the union          100 / 24,600 at k=4096            exact, idempotent
//	            many in both, in one
//	TDigest     quantiles, ranks      none; in practice 0.1 % of     30 to 90 / 700                    approximate
//	                                  rank, finer at the ends
//	DDSketch    quantiles, ranks      relative error ≤ α = 1.08 %    30 to 90 / 1,050                  exact
//	Top         the heaviest items    error ≤ N/(k+1)                items + 2 each / k items          bounds add
//	Frequency   count of any item     ≤ εN too high with 1-δ         80 / 21,300 at ε=0.001, δ=0.01    upper bound kept
//	Moments     sum, mean, variance,  exact to the last digits       71 / 73                           exact to the last digits
//	            skewness, kurtosis
//	Reservoir   anything, from a      unbiased, bottom-k             k events                          exact, idempotent
//	            sample
//
// # One contract
//
// [Sketch] is what all have in common. Every sketch is exact while it is small
// and says so with Exact: then value, lower and upper of its estimates are equal.
// Reading never changes a sketch, so readers need no more than a read lock;
// writing needs the only reference.
//
// Encodings begin with a letter for the kind and end with a checksum; they carry
// version, parameters, hash function and seed, so that what does not belong
// together does not merge: [ErrMismatch]. Decoders trust no byte: whatever is
// wrong is [ErrCorrupt], found before memory is taken for it. Where the merge is
// exact the encoding is canonical: equal contents have equal bytes.
//
// # Small cells
//
// Most cells of a stream see a handful of events, and then the cell is the cost,
// not the event. [AppendHLL], [AppendTDigest], [AppendDDSketch], [AppendTop] and
// [AppendFrequency] encode straight from a log of raw events what a sketch of
// them would have encoded, and MergeBinary merges straight from bytes.
//
// # Others
//
// t-digests of the Java reference ([DecodeJava]), sketches of
// axiomhq/hyperloglog ([DecodeAxiomhq]) and Prometheus native histograms
// ([FromNativeHistogram]) are read and written.
package sketch
