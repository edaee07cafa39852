package store

// Hasty makes a writer try again at once.
func (w *Writer) Hasty() *Writer {
	w.pause = 1
	return w
}
