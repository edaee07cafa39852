// Package sketch compares this program's sketches with the libraries one would
// take otherwise. It is a module of its own, so that nobody who builds weir
// downloads them.
package sketch
