package testkit_test

import (
	"os"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"github.com/bivouac-run/bivouac/testkit"
)

var (
	_ testkit.TB = (*testing.T)(nil)
	_ testkit.TB = (*testing.B)(nil)
	_ testkit.TB = (*testing.F)(nil)
	_ testkit.TB = testing.TB(nil)
	_ testkit.TB = ginkgo.GinkgoTInterface(nil)
	_ testkit.TB = ginkgo.FullGinkgoTInterface(nil)
	_ testkit.TB = (*ginkgo.GinkgoTBWrapper)(nil)
)

func TestGinkgo(t *testing.T) {
	image(t, "")
	gomega.RegisterFailHandler(ginkgo.Fail)
	ginkgo.RunSpecs(t, "testkit, "+os.Getenv("BIVOUAC_E2E_USER_KIND"))
}

var _ = ginkgo.Describe("testkit in Ginkgo", ginkgo.Ordered, func() {
	var inner, outer *testkit.Container

	ginkgo.BeforeAll(func() {
		outer = testkit.Start(ginkgo.GinkgoT(), registryImage("busybox:latest"), testkit.Args("sleep", "1000"))
	})

	ginkgo.It("is matched by gexec", func() {
		inner = testkit.Start(ginkgo.GinkgoT(), registryImage("busybox:latest"), testkit.Args("sh", "-c", "until [ -e /go ]; do sleep 0.05; done; exit 7"))
		gomega.Expect(inner).NotTo(gexec.Exit())
		_, err := inner.Exec(ginkgo.GinkgoT().Context(), "touch", "/go")
		gomega.Expect(err).NotTo(gomega.HaveOccurred())
		gomega.Eventually(inner).WithTimeout(time.Minute).Should(gexec.Exit(7))
	})

	ginkgo.It("ends with its node", func() {
		gomega.Expect(outer.ExitCode()).To(gomega.Equal(-1))
		gomega.Expect(inner.Stop(ginkgo.GinkgoT().Context())).To(gomega.MatchError(gomega.ContainSubstring("has been discarded")))
	})

	ginkgo.It("shares a container between specs", func(ctx ginkgo.SpecContext) {
		result, err := outer.Exec(ctx, "echo", "hello")
		gomega.Expect(err).NotTo(gomega.HaveOccurred())
		gomega.Expect(result.String()).To(gomega.Equal("hello"))
	})

	ginkgo.It("turns a failed start into a failure of the spec", func() {
		failures := gomega.InterceptGomegaFailures(func() {
			defer func() { gomega.Expect(recover()).To(gomega.BeNil()) }()
			fake := &interceptedT{FullGinkgoTInterface: ginkgo.GinkgoT()}
			testkit.Start(fake, registryImage("busybox:latest"), testkit.Args("/no/such"))
			gomega.Expect(fake.message).To(gomega.ContainSubstring("/no/such"))
		})
		gomega.Expect(failures).To(gomega.BeEmpty())
	})
})

// interceptedT keeps a failure from failing its spec.
type interceptedT struct {
	ginkgo.FullGinkgoTInterface
	message string
}

func (i *interceptedT) Fatalf(_ string, args ...any) { i.message = args[0].(string) }

func registryImage(name string) string { return os.Getenv("BIVOUAC_E2E_REGISTRY") + "/" + name }
