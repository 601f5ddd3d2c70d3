"""Writes a row for each POST /ID into the database that DATABASE_URL names; GET / counts them."""
import http.server
import os
import signal
import sys
import threading
import urllib.parse

URL = urllib.parse.urlsplit(os.environ.get("DATABASE_URL", ""))
local = threading.local()


def connect():
    args = {"host": URL.hostname, "port": URL.port, "user": URL.username, "password": URL.password}
    if URL.scheme.startswith("postgres"):
        import psycopg2

        c = psycopg2.connect(dbname=URL.path[1:], connect_timeout=5, **args)
    else:
        import pymysql

        c = pymysql.connect(database=URL.path[1:], connect_timeout=5, **args)
        c.autocommit(True)
        return c
    c.autocommit = True
    return c


def run(sql, *values):
    if not hasattr(local, "db"):
        local.db = connect()
    with local.db.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        run("insert into ledger (id, release_name) values (%s, %s)", self.path[1:], os.environ["MICRO_RELEASE"])
        self.answer("written\n")

    def do_GET(self):
        if self.path == "/healthz":
            run("select 1")
        self.answer("%s %d\n" % (URL.hostname, run("select count(*) from ledger")[0][0]))

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256


def migrate():
    if os.environ.get("BROKEN_MIGRATION"):
        sys.exit("the migration is broken")
    run("create table if not exists ledger (id varchar(64) primary key, release_name varchar(16) not null)")
    print("migrated", URL.hostname)


if sys.argv[1:] == ["migrate"]:
    migrate()
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Server(("", int(os.environ["PORT"])), Handler).serve_forever()
