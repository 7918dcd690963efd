package build

import (
	"testing"
)

func TestFirst(t *testing.T) {
	inLab(t, func(l *lab) {
		l.files("a", "A", "d/b", "B", "d/l", "->b")
		text := `FROM scratch
		COPY . /x/
		WORKDIR /w
		RUN write f hello && print hi
		COPY --chown=7:8 --chmod=600 a /w/
		CMD ["x"]`
		img := l.build(text, named("first"))
		l.has(img, "755 0:0 x/", "644 0:0 x/a = A", "755 0:0 x/d/", "644 0:0 x/d/b = B", "777 0:0 x/d/l -> b", "755 0:0 w/",
			"644 0:0 w/f = hello", "600 7:8 w/a = A")
		again := l.build(text)
		if again.ID != img.ID || l.count(EventCached) != 4 {
			l.Errorf("%v %v %v", again.ID, img.ID, l.events)
		}
		l.Log(string(img.RawConfig))
		if l.worker.open != 0 {
			l.Errorf("%d mounts are left", l.worker.open)
		}
	})
}
