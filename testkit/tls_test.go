package testkit_test

import (
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"testing"

	"github.com/bivouac-run/bivouac/testkit"
)

const tlsServer = `
server {
	listen 443 ssl;
	ssl_certificate /run/tls/cert.pem;
	ssl_certificate_key /run/tls/key.pem;
	return 200 "over TLS";
}
`

func TestTLSServersAreAwaited(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	pair := server.TLS.Certificates[0]
	server.Close()
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certificate := testkit.TLSCertificate("/run/tls/cert.pem").Key("/run/tls/key.pem").ServerName("example.com")
	testkit.Start(t, image(t, "nginx:latest"),
		testkit.Entrypoint("sh", "-c", `sleep 0.2; mkdir /run/tls; cp /staged/* /run/tls; exec nginx -g "daemon off;"`),
		testkit.File("/etc/nginx/conf.d/tls.conf", tlsServer),
		testkit.File("/staged/cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})),
		testkit.File("/staged/key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		testkit.Ready(certificate, testkit.HTTP(443, "/").Trust(certificate).Answer("over TLS")))
	if certificate.Config() == nil {
		t.Error("there is no configuration")
	}
}
