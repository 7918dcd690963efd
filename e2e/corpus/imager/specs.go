package main

import (
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A spec says what an image of one platform is made of.
type spec struct {
	layout, tag string
	layers      []string // archives, without .tar; compressed with gzip unless :zstd or :none follows
	config      v1.Config
	arch        string // amd64 if empty
	docker      bool   // has the media types of Docker's schema 2 instead of OCI's
}

const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

var (
	sh    = v1.Config{Cmd: []string{"sh"}, Env: []string{path}}
	bash  = v1.Config{Cmd: []string{"bash"}, Env: []string{path}}
	tools = v1.Config{Cmd: []string{"bash"}, Env: []string{path}, User: "1000:1000", WorkingDir: "/srv/app"}

	postgres = v1.Config{
		Entrypoint: []string{"docker-entrypoint.sh"},
		Cmd:        []string{"postgres"},
		Env: []string{
			path + ":/usr/lib/postgresql/15/bin", "LANG=C.UTF-8", "PG_MAJOR=15", "PGDATA=/var/lib/postgresql/data",
		},
		User:         "postgres",
		ExposedPorts: map[string]struct{}{"5432/tcp": {}},
		Volumes:      map[string]struct{}{"/var/lib/postgresql/data": {}},
		StopSignal:   "SIGINT",
		Healthcheck: &v1.HealthConfig{
			Test:     []string{"CMD-SHELL", "pg_isready -U postgres"},
			Interval: time.Second,
			Timeout:  3 * time.Second,
			Retries:  30,
		},
	}

	redis = v1.Config{
		Entrypoint:   []string{"docker-entrypoint.sh"},
		Cmd:          []string{"redis-server", "--protected-mode", "no"},
		Env:          []string{path},
		ExposedPorts: map[string]struct{}{"6379/tcp": {}},
		Volumes:      map[string]struct{}{"/data": {}},
		WorkingDir:   "/data",
	}

	nginx = v1.Config{
		Cmd:          []string{"nginx", "-g", "daemon off;"},
		Env:          []string{path},
		ExposedPorts: map[string]struct{}{"80/tcp": {}},
		StopSignal:   "SIGQUIT",
	}

	node   = service("node", "/srv/service.js")
	python = service("python3", "/srv/service.py")
	// Its server would otherwise hold back the second packet of an answer until the first is acknowledged.
	java = service("java", "-Xmx128m", "-Dsun.net.httpserver.nodelay=true", "-cp", "/srv", "Service")

	goServer = v1.Config{
		Entrypoint:   []string{"/service"},
		Env:          []string{path},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}},
	}

	rabbitmq = v1.Config{
		Cmd:          []string{"/usr/lib/rabbitmq/bin/rabbitmq-server"}, // Debian's own does not pass signals on
		Env:          []string{path, "HOME=/var/lib/rabbitmq", "LANG=C.UTF-8"},
		User:         "rabbitmq",
		ExposedPorts: map[string]struct{}{"5672/tcp": {}},
		Volumes:      map[string]struct{}{"/var/lib/rabbitmq": {}},
	}

	mariadb = v1.Config{
		Entrypoint:   []string{"docker-entrypoint.sh"},
		Cmd:          []string{"mariadbd"},
		Env:          []string{path},
		ExposedPorts: map[string]struct{}{"3306/tcp": {}},
		Volumes:      map[string]struct{}{"/var/lib/mysql": {}},
	}
)

// service is the configuration of an image whose command is an HTTP server.
func service(command ...string) v1.Config {
	return v1.Config{
		Cmd:          command,
		Env:          []string{path},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}},
		WorkingDir:   "/srv",
	}
}

// specs are the images that are not indexes. The name of a layout ends in -v2s2 if its images are not OCI's, as OCI
// tools refuse them in a layout; in a registry they are tags beside the others.
var specs = []spec{
	{layout: "busybox", tag: "latest", layers: []string{"busybox-amd64"}, config: sh},
	{layout: "busybox", tag: "zstd", layers: []string{"busybox-amd64:zstd"}, config: sh},
	{layout: "busybox", tag: "none", layers: []string{"busybox-amd64:none"}, config: sh},
	{layout: "busybox-v2s2", tag: "v2s2", layers: []string{"busybox-amd64"}, config: sh, docker: true},
	{layout: "debian", tag: "slim", layers: []string{"debian"}, config: bash},
	{layout: "debian", tag: "tools", layers: []string{"debian", "tools"}, config: tools},
	{layout: "postgres", tag: "15", layers: []string{"debian", "postgres"}, config: postgres},
	{layout: "redis", tag: "7", layers: []string{"debian", "redis"}, config: redis},
	{layout: "nginx", tag: "latest", layers: []string{"debian", "nginx"}, config: nginx},
	{layout: "node", tag: "18", layers: []string{"debian", "node"}, config: node},
	{layout: "java", tag: "17", layers: []string{"debian", "java"}, config: java},
	{layout: "python", tag: "3", layers: []string{"debian", "python"}, config: python},
	{layout: "go", tag: "latest", layers: []string{"go"}, config: goServer},
	{layout: "rabbitmq", tag: "3", layers: []string{"debian", "rabbitmq"}, config: rabbitmq},
	{layout: "mariadb", tag: "10", layers: []string{"debian", "mariadb"}, config: mariadb},
}
