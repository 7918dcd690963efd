package postgres

import (
	"io/fs"

	"github.com/bivouac-run/bivouac/testkit"
)

// Option says something about a server that is to be started.
type Option func(*settings)

type settings struct {
	account
	image     string
	container []testkit.Option
}

// Image sets the image: the official one, or another that takes its variables and runs the scripts of
// /docker-entrypoint-initdb.d.
func Image(name string) Option { return func(s *settings) { s.image = name } }

// User sets the superuser's name. The default is postgres.
func User(name string) Option { return func(s *settings) { s.user = name } }

// Password sets the superuser's password. The default is postgres.
func Password(password string) Option { return func(s *settings) { s.password = password } }

// DB sets the name of the server's own database, in which scripts run and of which [Server.Database] makes copies. The
// default is test.
func DB(name string) Option { return func(s *settings) { s.database = name } }

const scripts = "/docker-entrypoint-initdb.d"

// Script adds a script that runs before the server is ready. Its name ends in .sql or .sh; they run in the order of their
// names, those in .sh as a part of the image's entrypoint.
func Script[T []byte | string](name string, content T) Option {
	return With(testkit.File(scripts+"/"+name, content))
}

// Scripts adds all scripts of a directory, such as an embed.FS or os.DirFS("testdata/sql"), whatever their modes.
func Scripts(dir fs.FS) Option { return With(testkit.Files(scripts, dir, testkit.Mode(0o644))) }

// With sets options of the container.
func With(opts ...testkit.Option) Option {
	return func(s *settings) { s.container = append(s.container, opts...) }
}

func collect(opts []Option) *settings {
	s := &settings{image: DefaultImage, account: account{"postgres", "postgres", "test"}}
	for _, o := range opts {
		o(s)
	}
	s.container = append([]testkit.Option{
		testkit.Env("POSTGRES_USER", s.user),
		testkit.Env("POSTGRES_PASSWORD", s.password),
		testkit.Env("POSTGRES_DB", s.database),
		testkit.Args("postgres", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"),
		// SIGINT ends it without waiting for clients: SIGTERM would wait for connections that a test has left open.
		testkit.StopSignal("SIGINT"),
		// While scripts run the server listens on its unix socket alone. It listens on the port before it takes queries.
		testkit.Ready(testkit.Port(port).Inside(), testkit.Exec("pg_isready", "-q", "-h", "127.0.0.1")),
	}, s.container...)
	return s
}
