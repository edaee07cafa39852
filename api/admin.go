package api

import (
	"net/http"
	"net/http/pprof"
)

// Admin answers with profiles of the process under /debug/pprof/. It belongs on
// a listener of its own, since a profile tells more than strangers should know
// and costs more than they should spend.
func Admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
