package s3test

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"time"
)

// Fault is what becomes of a request.
type Fault int

// The faults. What is cut or late may be done all the same.
const (
	Pass        Fault = iota
	Internal          // 500, not done
	SlowDown          // 503, not done
	Conflict          // 409, not done
	CutBefore         // the connection is cut, not done
	CutAfter          // done, then the connection is cut before the answer
	CutBody           // done, half of the answer's body arrives
	Late              // done after Delay
	Stalled           // done, and the answer never comes
	FaultsCount       // how many there are
)

func (f Fault) String() string {
	return [...]string{"pass", "500", "503", "409", "cut before", "cut after", "cut body", "late", "stalled"}[f]
}

// Proxy passes requests on to a server, except for what OnRequest decides.
type Proxy struct {
	Server    http.Handler
	OnRequest func(r *http.Request) Fault // must serve several goroutines
	Delay     time.Duration               // of what is late
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// All of it, so that what follows is decided by the fault alone.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	fault := p.OnRequest(r)
	switch fault {
	case Internal:
		fail(w, http.StatusInternalServerError, "InternalError")
		return
	case SlowDown:
		fail(w, http.StatusServiceUnavailable, "SlowDown")
		return
	case Conflict:
		fail(w, http.StatusConflict, "ConditionalRequestConflict")
		return
	case CutBefore:
		panic(http.ErrAbortHandler)
	case Late:
		time.Sleep(p.Delay)
	}
	gone := r.Context().Done()
	answer := httptest.NewRecorder()
	p.Server.ServeHTTP(answer, r)
	switch fault {
	case CutAfter:
		panic(http.ErrAbortHandler)
	case Stalled:
		<-gone
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	data := answer.Body.Bytes()
	if fault == CutBody {
		_, _ = w.Write(data[:len(data)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(data)
}
