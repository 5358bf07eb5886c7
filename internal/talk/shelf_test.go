package talk

import (
	"strconv"
	"testing"
	"time"
)

func TestShelf(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := newShelf[int](3, func() time.Time { return now })
	has := func(want string) {
		t.Helper()
		got := ""
		for i := range 6 {
			if v, ok := s.get(strconv.Itoa(i)); ok && v == i {
				got += strconv.Itoa(i)
			}
		}
		if got != want {
			t.Errorf("there are %q, not %q", got, want)
		}
	}
	for i := range 4 {
		s.put(strconv.Itoa(i), i, now.Add(time.Duration(10-i)*time.Minute))
	}
	has("123") // the first one went, although it would have lived longest
	if _, ok := s.take("2"); !ok {
		t.Error("2 is not there")
	}
	if _, ok := s.take("2"); ok {
		t.Error("2 is taken twice")
	}
	s.put("4", 4, now.Add(time.Minute))
	now = now.Add(time.Minute)
	has("13") // 4 has ended
	s.put("4", 4, now.Add(time.Minute))
	now = now.Add(time.Minute)
	s.put("5", 5, now.Add(time.Minute)) // what has ended makes room before what has not
	has("135")
}
