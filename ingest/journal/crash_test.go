package journal

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// crash ends a journal as a kill would: nothing is written any more, and the
// directory is copied as it is.
func (r *rig) crash() string {
	r.t.Helper()
	dir := r.t.TempDir()
	copyDir(r.t, r.opts.Dir, dir)
	return dir
}

// fastDir is in memory where the machine has such a place: tests that open
// hundreds of journals would spend their time in fsync.
func fastDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "journal")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// reopen opens a copy of the directory whose file has other bytes.
func reopen(t *testing.T, dir, name string, data []byte, opts Options) (contents []string, err error) {
	t.Helper()
	opts.Dir = filepath.Join(fastDir(t), "copy")
	copyDir(t, dir, opts.Dir)
	defer os.RemoveAll(opts.Dir)
	if err := os.WriteFile(filepath.Join(opts.Dir, name), data, 0o666); err != nil {
		t.Fatal(err)
	}
	j, err := Open(opts)
	if err != nil {
		return nil, err
	}
	r := &rig{Journal: j, t: t}
	contents = r.contents()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return contents, nil
}

func lastFile(t *testing.T, dir string) (name string, data []byte) {
	t.Helper()
	list := segments(t, dir)
	path := list[len(list)-1]
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(path), data
}

// A write torn at any byte loses the record it tore, and no other.
func TestTornWrite(t *testing.T) {
	for where, sizes := range map[string][]int{"in a page": {100, 10}, "across pages": {100, 32300, 10}} {
		t.Run(where, func(t *testing.T) { testTornWrite(t, sizes) })
	}
}

func testTornWrite(t *testing.T, sizes []int) {
	opts := Options{Dir: t.TempDir(), Streams: map[string]int{"web": 1}, Logger: quiet()}
	rng := seed(t)
	r := start(t, opts)
	for _, size := range sizes {
		r.push(strconv.Itoa(size), noise(rng, size))
		r.push("", noise(rng, size))
	}
	before := r.contents()
	name, short := lastFile(t, opts.Dir)
	r.push("", noise(rng, 350))
	all := r.contents()
	dir := r.crash()
	_, long := lastFile(t, dir)
	r.shut()

	if !bytes.HasPrefix(long, short) {
		t.Fatal("a record changed what was before it")
	}
	for n := len(short); n <= len(long); n++ {
		want := before
		if n == len(long) {
			want = all
		}
		// The size may have grown before the data did.
		for _, data := range [][]byte{long[:n], append(long[:n:n], make([]byte, len(long)-n)...)} {
			got, err := reopen(t, dir, name, data, opts)
			if err != nil {
				t.Fatalf("torn at byte %d of %d, %d zeros: %v", n-len(short), len(long)-len(short), len(data)-n, err)
			}
			equal(t, got, want)
		}
	}
}

// The end of a mark, which may be zeros or not there at all, costs nothing.
func TestTornMark(t *testing.T) {
	opts := Options{Dir: t.TempDir(), Streams: map[string]int{"web": 1}, Logger: quiet()}
	r := start(t, opts)
	r.push("", lines("a", 3))
	all := r.contents()
	_, short := lastFile(t, opts.Dir)
	r.shut()
	name, long := lastFile(t, opts.Dir)
	for n := len(short); n < len(short)+fragmentFrame+headSize; n++ {
		got, err := reopen(t, opts.Dir, name, long[:n], opts)
		if err != nil {
			t.Fatalf("torn at byte %d: %v", n-len(short), err)
		}
		equal(t, got, all)
	}
}

// After a flipped bit, the journal opens with a beginning of what it held, not
// less than what later records prove to have been on disk, or not at all.
func TestBitFlips(t *testing.T) {
	opts := defaults(t.TempDir())
	opts.Streams = map[string]int{"web": 1}
	rng := seed(t)
	r := start(t, opts)
	for i := range 40 { // one group each: only the last can be lost
		r.push(strconv.Itoa(i), noise(rng, 1+rng.IntN(9000)))
	}
	all := r.contents()
	dir := r.crash()
	r.shut()
	inOrder := r.opts.Dir // the same, closed in good order

	opened, refused := 0, 0
	for i := range 300 {
		from := dir
		if i%2 == 1 {
			from = inOrder
		}
		files := segments(t, from)
		path := files[rng.IntN(len(files))]
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) == 0 {
			continue
		}
		at := rng.IntN(len(data))
		data[at] ^= 1 << rng.IntN(8)
		got, err := reopen(t, from, filepath.Base(path), data, opts)
		what := fmt.Sprintf("%s at byte %d of %d", filepath.Base(path), at, len(data))
		switch {
		case err == nil:
			opened++
			least := len(all) - 1
			if from == inOrder {
				least = len(all)
			}
			if len(got) < least {
				t.Fatalf("%s: %d of %d batches are left", what, len(got), len(all))
			}
			equal(t, got, all[:len(got)])
		case errors.Is(err, ErrCorrupt):
			refused++
			if !strings.Contains(err.Error(), filepath.Base(path)) {
				t.Fatalf("%s: the error does not name the file: %v", what, err)
			}
		default:
			t.Fatalf("%s: %v", what, err)
		}
	}
	t.Logf("%d opened, %d refused", opened, refused)
	if refused < 50 || opened == 0 {
		t.Errorf("%d opened, %d refused", opened, refused)
	}
}

func TestMissingParts(t *testing.T) {
	opts := defaults(t.TempDir())
	opts.Streams = map[string]int{"web": 1}
	rng := seed(t)
	r := start(t, opts)
	for range 40 {
		r.push("", noise(rng, 9000))
	}
	r.shut()
	for _, c := range []struct {
		name string
		do   func(dir string, files []string) error
		want string
	}{
		{"a file gone", func(_ string, f []string) error { return os.Remove(f[2]) }, "not sequential"},
		{"an earlier file cut short", func(_ string, f []string) error { return os.Truncate(f[1], 40000) }, "torn"},
		{"an earlier file empty", func(_ string, f []string) error { return os.Truncate(f[1], 0) }, "is followed by"},
		{"an earlier file all zeros", func(_ string, f []string) error { return os.WriteFile(f[1], make([]byte, 64<<10), 0o666) }, "is followed by"},
		{"a file twice", func(dir string, f []string) error {
			data, err := os.ReadFile(f[1])
			return errors.Join(err, os.WriteFile(f[2], data, 0o666))
		}, "is followed by"},
		{"identity gone", func(dir string, _ []string) error { return os.Remove(filepath.Join(dir, identityName)) }, identityName},
		{"identity damaged", func(dir string, _ []string) error {
			return os.WriteFile(filepath.Join(dir, identityName), []byte("{"), 0o666)
		}, identityName},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := opts
			o.Dir = filepath.Join(t.TempDir(), "copy")
			copyDir(t, opts.Dir, o.Dir)
			if err := c.do(o.Dir, segments(t, o.Dir)); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(o); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("opened: %v", err)
			}
		})
	}
}

// pushed is what several clients were told.
type pushed struct {
	mu    sync.Mutex
	acked map[string]Ack // by body
}

func (p *pushed) add(body string, a Ack) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.acked == nil {
		p.acked = make(map[string]Ack)
	}
	p.acked[body] = a
}

func (p *pushed) copy() map[string]Ack {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := make(map[string]Ack, len(p.acked))
	for k, v := range p.acked {
		c[k] = v
	}
	return c
}

// holds checks that the log has what was acknowledged where it was, and nothing
// twice. Only what was committed may be gone.
func (r *rig) holds(acked map[string]Ack, committed ...int64) {
	r.t.Helper()
	if committed == nil {
		committed = make([]int64, 2)
	}
	found := make(map[string]bool)
	for _, p := range r.Partitions("web") {
		next := int64(0)
		// What is committed may be deleted at this very moment.
		for i, b := range r.all(p, committed[p]) {
			if i == 0 {
				next = min(b.From, committed[p])
			}
			body := string(b.Data)
			if b.From != next || found[body] {
				r.t.Fatalf("partition %d at %d: [%d,%d) %.60q, seen before: %t", p, next, b.From, b.To, body, found[body])
			}
			if a, ok := acked[body]; ok && (a.Partition != p || a.First != b.From || a.Count != b.To-b.From) {
				r.t.Fatalf("%.60q at %d of partition %d was acknowledged as %+v", body, b.From, p, a)
			}
			found[body] = true
			next = b.To
		}
	}
	for body, a := range acked {
		if !found[body] && a.First+a.Count > committed[a.Partition] {
			r.t.Fatalf("%.60q, acknowledged as %+v, is lost", body, a)
		}
	}
}

// A power cut keeps what was synced, and of the rest any pages.
func TestPowerCut(t *testing.T) {
	rng := seed(t)
	type cut struct {
		dir   string
		acked map[string]Ack
	}
	var (
		cuts   []cut
		told   pushed
		synced = make(map[string]int64)
		every  = 15
		calls  int
		random = rand.New(rand.NewPCG(rng.Uint64(), 1))
	)
	opts := defaults(fastDir(t))
	r := start(t, opts, func(j *Journal) {
		j.sync = func(f *os.File) error { // called by the owner of the log only
			if calls++; calls%every == 0 {
				c := cut{filepath.Join(fastDir(t), "cut"), told.copy()}
				copyDir(t, opts.Dir, c.dir)
				for _, path := range segments(t, c.dir) {
					tear(t, path, synced[filepath.Base(path)], random)
				}
				cuts = append(cuts, c)
			}
			info, err := f.Stat()
			if err != nil {
				return err
			}
			synced[filepath.Base(f.Name())] = info.Size()
			return f.Sync()
		}
	})
	var wg sync.WaitGroup
	for c := range 6 {
		own := rand.New(rand.NewPCG(rng.Uint64(), uint64(c)))
		wg.Go(func() {
			for i := range 60 {
				body := fmt.Sprintf("%d %d ", c, i) + noise(own, 1+own.IntN(20000))
				a, err := r.Append(context.Background(), "web", "", []byte(body), 1)
				if err != nil {
					t.Error(err)
					return
				}
				told.add(body, a)
			}
		})
	}
	wg.Wait()
	r.shut()
	torn := 0
	for _, c := range cuts {
		o := opts
		o.Dir = c.dir
		r := start(t, o)
		r.holds(c.acked)
		r.push("", "and on\n")
		r.shut()
		r = start(t, o) // and what was built on it stands
		r.holds(c.acked)
		r.shut()
		torn++
	}
	if torn < 5 {
		t.Errorf("only %d power cuts", torn)
	}
}

// tear keeps the synced bytes of a file and makes a ruin of the rest.
func tear(t *testing.T, path string, synced int64, rng *rand.Rand) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(data)) <= synced {
		return
	}
	const page = 4096
	data = data[:synced+rng.Int64N(int64(len(data))-synced+1)]
	for at := synced / page * page; at < int64(len(data)); at += page {
		if rng.IntN(3) == 0 {
			clear(data[max(at, synced):min(at+page, int64(len(data)))])
		}
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

func TestFailedSync(t *testing.T) {
	eio := &os.PathError{Op: "sync", Path: "file", Err: syscall.EIO}
	for _, at := range []string{"file", "directory"} {
		t.Run(at, func(t *testing.T) {
			opts := defaults(t.TempDir())
			fail := false
			r := start(t, opts, func(j *Journal) {
				j.sync = func(f *os.File) error {
					info, err := f.Stat()
					if err != nil {
						return err
					}
					if fail && info.IsDir() == (at == "directory") {
						return eio
					}
					return f.Sync()
				}
			})
			a := r.push("", "good\n")
			fail = true
			var err error
			for i := 0; i < 100 && err == nil; i++ { // a directory is synced when files change
				_, err = r.Append(context.Background(), "web", "", []byte(noise(rand.New(rand.NewPCG(1, uint64(i))), 9000)), 1)
			}
			if !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
				t.Errorf("append: %v", err)
			}
			if err := r.stop(); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
				t.Errorf("run: %v", err)
			}
			if _, err := r.Append(context.Background(), "web", "", []byte("late\n"), 1); !errors.Is(err, ErrFailed) {
				t.Errorf("append after the failure: %v", err)
			}
			rd, err := r.Reader("web", a.Partition)
			if err != nil {
				t.Fatal(err)
			}
			defer rd.Close()
			if b, err := rd.Next(context.Background()); err != nil || string(b.Data) != "good\n" {
				t.Errorf("what was good: %+v, %v", b, err)
			}
			for err == nil {
				_, err = rd.Next(context.Background())
			}
			if !errors.Is(err, ErrFailed) {
				t.Errorf("read after the failure: %v", err)
			}
		})
	}
}

// A full disk is met on a small file system of its own, or, where mounting is
// not allowed, by a next file that is /dev/full.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	opts := defaults(filepath.Join(dir, "journal"))
	if err := os.Mkdir(opts.Dir, 0o777); err != nil {
		t.Fatal(err)
	}
	mounted := syscall.Mount("tmpfs", opts.Dir, "tmpfs", 0, "size=512k")
	if mounted == nil {
		defer func() {
			if err := syscall.Unmount(opts.Dir, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		}()
	}
	r := start(t, opts)
	if mounted != nil {
		t.Logf("mount: %v; using /dev/full", mounted)
		if err := os.Symlink("/dev/full", filepath.Join(opts.Dir, "00000001")); err != nil {
			t.Fatal(err)
		}
	}
	rng := seed(t)
	acked := make(map[string]Ack)
	for {
		body := noise(rng, 20000)
		a, err := r.Append(context.Background(), "web", "", []byte(body), 1)
		if err != nil {
			if !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("append: %v", err)
			}
			break
		}
		acked[body] = a
	}
	if err := r.stop(); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "make room and start again") {
		t.Errorf("run: %v", err)
	}
	// wlog keeps its goroutine when closing cannot write. The process ends then.
	tolerated = append(tolerated, goleak.IgnoreAnyFunction("github.com/prometheus/prometheus/tsdb/wlog.(*WL).run"))

	o := opts
	o.Dir = filepath.Join(dir, "roomier")
	if mounted != nil {
		if err := os.Remove(filepath.Join(opts.Dir, "00000001")); err != nil {
			t.Fatal(err)
		}
	}
	copyDir(t, opts.Dir, o.Dir)
	r = start(t, o)
	r.holds(acked)
	r.push("", "and on\n")
}

// childDir names the journal that a child process of this test pushes to.
const childDir = "JOURNAL_TEST_CHILD"

// pushUntilKilled is the child: clients push numbered batches with keys and
// print what they were told, readers commit what they have read.
func pushUntilKilled(dir string) int {
	fail := func(err error) int {
		fmt.Println("error:", err)
		return 1
	}
	j, err := Open(defaults(dir))
	if err != nil {
		return fail(err)
	}
	round, ends := os.Getenv(childDir+"_ROUND"), strings.Fields(os.Getenv(childDir+"_ENDS"))
	for p := range 2 {
		end, err := strconv.ParseInt(ends[p], 10, 64)
		if err != nil {
			return fail(err)
		}
		if err := j.Advance("web", p, end); err != nil {
			return fail(err)
		}
		rd, err := j.Reader("web", p)
		if err != nil {
			return fail(err)
		}
		go func() {
			for {
				b, err := rd.Next(context.Background())
				if err != nil {
					fail(err)
					return
				}
				if b.To%5 == 0 {
					fmt.Println("committed", p, b.To)
					j.Committed("web", p, b.To)
				}
			}
		}()
	}
	for c := range 4 {
		go func() {
			rng := rand.New(rand.NewPCG(uint64(c), uint64(len(round))))
			for i := 0; ; i++ {
				key := fmt.Sprintf("%s-%d-%d", round, c, i)
				fmt.Println("sent", key)
				a, err := j.Append(context.Background(), "web", key, []byte(childBody(key)), 1+len(key)%3)
				if err != nil {
					fail(err)
					return
				}
				fmt.Println("acked", key, a.Partition, a.First, a.Count)
				time.Sleep(time.Duration(rng.IntN(300)) * time.Microsecond)
			}
		}()
	}
	return fail(j.Run(context.Background()))
}

func childBody(key string) string {
	n := 1 + len(key)%3
	rng := rand.New(rand.NewPCG(1, uint64(len(key))*31+uint64(key[len(key)-1])))
	return lines(key, n-1) + key + noise(rng, 2000)
}

// Killed at random moments, the log holds every acknowledged batch that is not
// committed, and takes none twice when clients try all of them again.
func TestKill(t *testing.T) {
	rng := seed(t)
	k := killing{dir: t.TempDir(), keys: make(map[string]bool), acked: make(map[string]Ack), committed: make([]int64, 2)}
	var unanswered, kept, deleted int64
	for k.round = range 10 {
		k.run(t, 20*time.Millisecond+time.Duration(rng.IntN(100))*time.Millisecond)
		r := start(t, defaults(k.dir))
		r.holds(k.acked, k.committed...)
		for p, end := range k.committed {
			if err := r.Advance("web", p, end); err != nil {
				t.Fatal(err)
			}
		}
		for key := range k.keys {
			body := childBody(key)
			a, err := r.Append(context.Background(), "web", key, []byte(body), 1+len(key)%3)
			if err != nil {
				t.Fatal(err)
			}
			told, known := k.acked[body]
			switch {
			case known && (!a.Duplicate || a.First != told.First || a.Partition != told.Partition):
				t.Fatalf("%s: told %+v, then %+v", key, told, a)
			case !known && a.Duplicate:
				kept++
			}
			if !known {
				unanswered++
			}
			k.acked[body] = a
		}
		var events int64
		for _, a := range k.acked {
			events += a.Count
		}
		if sum := r.End("web", 0) + r.End("web", 1); sum != events {
			t.Fatalf("round %d: %d events in the log, %d were sent", k.round, sum, events)
		}
		r.holds(k.acked, k.committed...)
		deleted = int64(r.files[0].index)
		r.shut()
	}
	t.Logf("%d batches sent; of %d without an answer, %d were in the log; committed %d, the first %d files deleted",
		len(k.keys), unanswered, kept, k.committed, deleted)
	if deleted == 0 {
		t.Error("no file was deleted")
	}
}

// killing is what is known of the rounds of TestKill.
type killing struct {
	dir       string
	round     int
	keys      map[string]bool // sent
	acked     map[string]Ack  // by body
	committed []int64         // by partition
}

// run runs a child for a while and kills it.
func (k *killing) run(t *testing.T, after time.Duration) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+k.dir, fmt.Sprintf("%s_ROUND=%d", childDir, k.round),
		fmt.Sprintf("%s_ENDS=%d %d", childDir, k.committed[0], k.committed[1]))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var timer *time.Timer
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if timer == nil { // it is under way
			timer = time.AfterFunc(after, func() { cmd.Process.Kill() }) //nolint:errcheck // Wait tells
		}
		var key string
		var a Ack
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "error:"):
			t.Error(line)
		case strings.HasPrefix(line, "sent "):
			k.keys[line[5:]] = true
		case strings.HasPrefix(line, "committed "):
			var p int
			var to int64
			if n, _ := fmt.Sscanf(line, "committed %d %d", &p, &to); n == 2 {
				k.committed[p] = max(k.committed[p], to)
			}
		default:
			if n, _ := fmt.Sscanf(line, "acked %s %d %d %d", &key, &a.Partition, &a.First, &a.Count); n == 4 {
				k.acked[childBody(key)] = a
			}
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() >= 0 {
		t.Fatalf("the child ended by itself: %v", err)
	}
}
