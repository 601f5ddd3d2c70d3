package debimage

import (
	"embed"
	"slices"
)

// Recipe says what goes into an image.
type Recipe struct {
	Name     string   // what the image is to be known by: "micro.local/python:latest"
	Packages []string // Debian packages; what they depend on comes with them
	Leave    []string // patterns (path.Match) of packages that are resolved but left out
	Drop     []string // patterns of files left out, no leading slash; a folder takes what is in it along
	Users    []User
	Links    map[string]string // path → target of a symlink
	Files    map[string]string // path → name below files/; these can be executed
	Dirs     []Dir
	Append   map[string]string // path → text added to the end of a package's file
	Programs map[string]string // path → Go program, as go install wants it: "example.com/cmd/server@v1.2.3"

	Entrypoint []string
	Cmd        []string
	Env        []string // beside PATH and LANG
	Dir        string
	Port       int // exposed over TCP, 0 is none
	Volume     string
	StopSignal string
}

// User is an account with a group of the same name and number.
type User struct {
	Name string
	ID   int
	Home string
}

// Dir is an empty folder.
type Dir struct {
	Path  string
	Mode  int64
	Owner int // user and group
}

// Versitygw is an S3 server, which checks signatures and keeps objects as files of a folder.
const Versitygw = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"

//go:embed files
var files embed.FS

// base is in every image: a libc, a shell, and what resolvers and TLS clients read.
var base = []string{"base-files", "base-passwd", "busybox-static", "ca-certificates", "libc-bin", "netbase"}

// leave is needed by dpkg and by maintainer scripts only.
var leave = []string{
	"adduser", "debconf", "dpkg", "gcc-*-base", "init-system-helpers", "libdebconfclient0", "libperl5*",
	"libsemanage*", "libsepol*", "lib*-perl", "lsb-base", "mawk", "openssl", "passwd", "perl", "perl-*",
	"sensible-utils", "ssl-cert", "sysvinit-utils", "tar", "ucf", "usrmerge",
}

// drop is never read by a server.
var drop = []string{
	"usr/share/bash-completion", "usr/share/bug", "usr/share/doc", "usr/share/doc-base", "usr/share/i18n",
	"usr/share/info", "usr/share/lintian", "usr/share/locale", "usr/share/man", "usr/share/zsh",
	"usr/lib/*/gconv", "etc/init.d", "etc/default", "etc/logrotate.d", "etc/ufw", "usr/lib/systemd", "usr/share/gcc", "usr/sbin/update-passwd",
}

// Preset returns the recipe of a known image: one of Presets.
func Preset(name string) (Recipe, bool) {
	i := slices.IndexFunc(presets, func(r Recipe) bool { return r.Name == name })
	if i < 0 {
		return Recipe{}, false
	}
	r := presets[i]
	r.Name = "micro.local/" + name + ":latest"
	return r, true
}

// Presets names the known recipes.
func Presets() []string {
	names := make([]string, len(presets))
	for i, r := range presets {
		names[i] = r.Name
	}
	return names
}

var presets = []Recipe{{
	Name:     "base",
	Packages: []string{"gosu"},
	Cmd:      []string{"sh"},
}, {
	Name:     "python",
	Packages: []string{"python3", "gosu"},
	Links:    map[string]string{"usr/bin/python": "python3"},
	Env:      []string{"PYTHONUNBUFFERED=1"},
	Cmd:      []string{"python3"},
}, {
	Name:     "python-db",
	Packages: []string{"python3", "python3-psycopg2", "python3-pymysql", "python3-redis", "python3-pika", "gosu"},
	Links:    map[string]string{"usr/bin/python": "python3"},
	Env:      []string{"PYTHONUNBUFFERED=1"},
	Cmd:      []string{"python3"},
}, {
	Name:     "node",
	Packages: []string{"nodejs"},
	Users:    []User{{"node", 1000, "/home/node"}},
	Dirs:     []Dir{{"home/node", 0o755, 1000}},
	Cmd:      []string{"node"},
}, {
	Name:       "redis",
	Packages:   []string{"redis-server", "gosu"},
	Users:      []User{{"redis", 999, "/data"}},
	Dirs:       []Dir{{"data", 0o755, 999}},
	Drop:       []string{"etc/redis", "var/lib/redis", "var/log/redis"},
	Files:      map[string]string{"usr/local/bin/docker-entrypoint.sh": "redis.sh"},
	Entrypoint: []string{"docker-entrypoint.sh"},
	Cmd:        []string{"redis-server"},
	Dir:        "/data",
	Port:       6379,
	Volume:     "/data",
}, {
	// libllvm is three quarters of the server's size; without llvmjit.so PostgreSQL does not ask for it.
	Name:     "postgres",
	Packages: []string{"postgresql-15", "gosu"},
	Leave:    []string{"libllvm*", "libz3-*", "libedit2", "locales", "libc-l10n", "postgresql-common"},
	Drop:     []string{"usr/lib/postgresql/15/lib/bitcode", "usr/lib/postgresql/15/lib/llvmjit*"},
	Users:    []User{{"postgres", 999, "/var/lib/postgresql"}},
	Dirs: []Dir{
		{"var/lib/postgresql", 0o755, 999}, {"var/lib/postgresql/data", 0o700, 999},
		{"run/postgresql", 0o775, 999}, {"docker-entrypoint-initdb.d", 0o755, 0},
	},
	Files:      map[string]string{"usr/local/bin/docker-entrypoint.sh": "postgres.sh"},
	Append:     map[string]string{"usr/share/postgresql/15/postgresql.conf.sample": "\njit = off\nlisten_addresses = '*'\n"},
	Entrypoint: []string{"docker-entrypoint.sh"},
	Cmd:        []string{"postgres"},
	Env: []string{
		"PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"PGDATA=/var/lib/postgresql/data",
	},
	Port:       5432,
	Volume:     "/var/lib/postgresql/data",
	StopSignal: "SIGINT",
}, {
	// mariadb-server itself brings Galera and Perl.
	Name:     "mariadb",
	Packages: []string{"mariadb-server-core", "mariadb-client", "gosu"},
	Leave:    []string{"mariadb-common", "mysql-common"},
	Drop:     []string{"usr/bin/aria_*", "usr/bin/myisam*", "usr/bin/mariadb-slap", "usr/share/mysql/*/errmsg.sys.keep"},
	Users:    []User{{"mysql", 999, "/var/lib/mysql"}},
	Dirs:     []Dir{{"var/lib/mysql", 0o700, 999}, {"run/mysqld", 0o755, 999}},
	Files:    map[string]string{"usr/local/bin/docker-entrypoint.sh": "mariadb.sh"},

	Entrypoint: []string{"docker-entrypoint.sh"},
	Cmd:        []string{"mariadbd"},
	Port:       3306,
	Volume:     "/var/lib/mysql",
}, {
	Name:       "rabbitmq",
	Packages:   []string{"rabbitmq-server", "gosu"},
	Leave:      []string{"erlang-*doc*", "socat", "logrotate", "lksctp-tools", "libsctp*", "cron*", "libpopt0"},
	Users:      []User{{"rabbitmq", 999, "/var/lib/rabbitmq"}},
	Dirs:       []Dir{{"var/lib/rabbitmq", 0o755, 999}, {"var/log/rabbitmq", 0o755, 999}, {"etc/rabbitmq", 0o755, 999}},
	Files:      map[string]string{"usr/local/bin/docker-entrypoint.sh": "rabbitmq.sh"},
	Entrypoint: []string{"docker-entrypoint.sh"},
	Cmd:        []string{"rabbitmq-server"},
	Env:        []string{"PATH=/usr/lib/rabbitmq/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/var/lib/rabbitmq", "RABBITMQ_LOGS=-"},
	Port:       5672,
	Volume:     "/var/lib/rabbitmq",
}, {
	Name:     "memcached",
	Packages: []string{"memcached"},
	Users:    []User{{"memcache", 11211, "/nonexistent"}},
	Cmd:      []string{"memcached"},
	Port:     11211,
}, {
	Name:     "nats",
	Packages: []string{"nats-server"},
	Cmd:      []string{"nats-server"},
	Port:     4222,
}, {
	Name:     "versitygw",
	Programs: map[string]string{"usr/local/bin/versitygw": Versitygw},
	Cmd:      []string{"versitygw"},
	Port:     7070,
}, {
	Name:     "nginx",
	Packages: []string{"nginx-light"},
	Leave:    []string{"iproute2", "libbpf*", "libcap2-bin", "libxtables*", "libelf*", "libmnl*"},
	Drop:     []string{"etc/nginx/sites-enabled"},
	Links: map[string]string{
		"var/log/nginx/access.log":        "/dev/stdout",
		"var/log/nginx/error.log":         "/dev/stderr",
		"etc/nginx/sites-enabled/default": "/etc/nginx/sites-available/default",
		"etc/nginx/modules-enabled":       "../../usr/share/nginx/modules-available",
	},
	Cmd:        []string{"nginx", "-g", "daemon off;"},
	Port:       80,
	StopSignal: "SIGQUIT",
}}
