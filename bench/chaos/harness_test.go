package chaos

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/kafka/kafkatest"
	"github.com/weir-stream/weir/store/storetest/s3test"
)

// Each trouble of the store does to a put what its name says.
func TestTroubles(t *testing.T) {
	f := newFlaky(s3test.New(t, s3test.Kept), 1)
	f.late = 100 * time.Millisecond
	endpoint := s3test.Serve(t, f)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // it would try again by itself
	request := func(method, name string) (status int) {
		r, err := http.NewRequestWithContext(t.Context(), method, endpoint+"/"+s3test.BucketName+"/"+name, strings.NewReader("data"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(r)
		if err != nil {
			return 0 // the connection was cut
		}
		response.Body.Close()
		return response.StatusCode
	}
	for way, want := range map[trouble]string{
		failing:   "500 absent, 503 absent",
		outage:    "503 absent",
		slow:      "200 stored",
		cutBefore: "cut absent",
		cutAfter:  "cut stored",
		ghost:     "cut absent, then stored",
	} {
		seen := make(map[string]bool)
		for i := range 8 {
			name := fmt.Sprintf("%d-%d", way, i)
			f.fail(way, time.Hour)
			status := request(http.MethodPut, name)
			f.fail(way, 0)
			before := request(http.MethodGet, name) == http.StatusOK
			f.ghosts.Wait()
			after := request(http.MethodGet, name) == http.StatusOK
			said, is := strconv.Itoa(status), map[bool]string{false: " absent", true: " stored"}
			if status == 0 {
				said = "cut"
			}
			if said += is[before]; before != after {
				said += ", then" + is[after]
			}
			if said != "200 stored" || way == slow { // not all requests are struck
				seen[said] = true
			}
		}
		for said := range seen {
			if !strings.Contains(want, said) {
				t.Errorf("%v: %s, want %s", way, said, want)
			}
		}
		if n := strings.Count(want, ", 5") + 1; len(seen) < n {
			t.Errorf("%v: %v in 8 puts, want %s", way, seen, want)
		}
	}
}

// What the harness has started ends when it is killed.
func TestChildrenEndWithTheHarness(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a process with its parent")
	}
	if os.Getenv("WEIR_CHAOS_PARENT") != "" {
		child := exec.Command("sleep", "600")
		kafkatest.EndWithParent(child)
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		fmt.Println("child", child.Process.Pid)
		_ = child.Wait()
		return
	}
	parent := exec.Command(os.Args[0], "-test.run", "^TestChildrenEndWithTheHarness$")
	parent.Env = append(os.Environ(), "WEIR_CHAOS_PARENT=1")
	out, err := parent.StdoutPipe()
	if err == nil {
		err = parent.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	pid, parseErr := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(line), "child "))
	if err := errors.Join(err, parseErr); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("the child is not there: %v", err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed
	for deadline := time.Now().Add(10 * time.Second); alive(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the child lives on")
		}
	}
}

// alive reports whether a process runs; one that has ended and that nobody has
// waited for does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
