package e2e

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
)

var _ = Describe("a registry with TLS and authentication", func() {
	var (
		own, docker string
		secured     = os.Getenv("BIVOUAC_E2E_REGISTRY_TLS")
		ca          = os.Getenv("BIVOUAC_E2E_CA")
	)
	pull := func(args ...string) *gexec.Session {
		GinkgoHelper()
		cmd := exec.Command(binary, append([]string{"pull"}, args...)...)
		cmd.Env = append(os.Environ(), "BIVOUAC_HOME="+own, "DOCKER_CONFIG="+docker, "PATH="+docker+":"+os.Getenv("PATH"))
		return finish(cmd)
	}
	login := func(user, password string) {
		GinkgoHelper()
		auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
		text := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, secured, auth)
		Expect(os.WriteFile(filepath.Join(docker, "config.json"), []byte(text), 0o600)).To(Succeed())
	}

	BeforeEach(func() {
		if secured == "" {
			Skip("BIVOUAC_E2E_REGISTRY_TLS is not set")
		}
		own = filepath.Join(scratchDir(), "store")
		docker = GinkgoT().TempDir()
	})

	It("is pulled from with its CA and Docker's credentials", func() {
		login("tester", "secret")
		Expect(pull("--tls-ca", ca, secured+"/busybox:latest")).To(gexec.Exit(0))
	})

	It("is pulled from with a credential helper", func() {
		helper := "#!/bin/sh\nid -u >$DOCKER_CONFIG/asked-by\necho '{\"ServerURL\":\"x\",\"Username\":\"tester\",\"Secret\":\"secret\"}'\n"
		Expect(os.WriteFile(filepath.Join(docker, "docker-credential-camp"), []byte(helper), 0o755)).To(Succeed())
		text := fmt.Sprintf(`{"credHelpers":{%q:"camp"}}`, secured)
		Expect(os.WriteFile(filepath.Join(docker, "config.json"), []byte(text), 0o600)).To(Succeed())
		Expect(pull("--tls-ca", ca, secured+"/busybox:latest")).To(gexec.Exit(0))
		// A keyring serves the user, not the root of a user namespace that the keeper is.
		Expect(os.ReadFile(filepath.Join(docker, "asked-by"))).To(BeEquivalentTo(fmt.Sprintln(os.Getuid())))
	})

	It("refuses wrong and missing credentials with a code of their own", func() {
		login("tester", "wrong")
		wrong := pull("--tls-ca", ca, secured+"/busybox:latest")
		Expect(oneLine(wrong, wrong.ExitCode())).To(MatchRegexp("(?i)unauthorized|authentication|credentials|login"))
		Expect(os.Remove(filepath.Join(docker, "config.json"))).To(Succeed())
		missing := pull("--tls-ca", ca, secured+"/busybox:latest")
		Expect(missing.ExitCode()).To(And(Equal(wrong.ExitCode()), BeNumerically(">", 2)))
	})

	It("is not trusted without its CA", func() {
		login("tester", "secret")
		session := pull(secured + "/busybox:latest")
		Expect(oneLine(session, session.ExitCode())).To(MatchRegexp("certificate.*--tls-ca"))
		Expect(session.ExitCode()).NotTo(BeZero())
	})

	It("can be a mirror of another", func() {
		login("tester", "secret")
		conf := filepath.Join(docker, "registries.conf")
		text := fmt.Sprintf("[[registry]]\nprefix = \"camp.example\"\nlocation = \"camp.example\"\n[[registry.mirror]]\nlocation = %q\ninsecure = true\n", registry)
		Expect(os.WriteFile(conf, []byte(text), 0o600)).To(Succeed())
		cmd := exec.Command(binary, "pull", "camp.example/busybox:latest")
		cmd.Env = append(os.Environ(), "BIVOUAC_HOME="+own, "CONTAINERS_REGISTRIES_CONF="+conf)
		Expect(finish(cmd)).To(gexec.Exit(0))
	})
})
