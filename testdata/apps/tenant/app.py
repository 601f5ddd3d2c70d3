"""Uses every service that it is bound to. GET / writes and reads something at each, over sessions that stay open.

app.py try URL… says which URLs let it in. app.py hold URL… keeps a session at each, and ends when all of them have been
ended.
"""
import hashlib
import hmac
import http.client
import http.server
import json
import os
import signal
import socket
import sys
import threading
import time
import urllib.parse


def mysql(u):
    import pymysql

    c = pymysql.connect(host=u.hostname, port=u.port, user=u.username, password=u.password, database=u.path[1:], connect_timeout=5, autocommit=True)

    def use():
        with c.cursor() as q:
            q.execute("create table if not exists t (v varchar(64))")
            q.execute("insert into t values (%s)", (u.username,))
            q.execute("select count(*) from t where v = %s", (u.username,))
            return q.fetchone()[0] > 0

    return use


def postgres(u):
    import psycopg2

    c = psycopg2.connect(host=u.hostname, port=u.port, user=u.username, password=u.password, dbname=u.path[1:], connect_timeout=5)
    c.autocommit = True

    def use():
        with c.cursor() as q:
            q.execute("create table if not exists t (v text)")
            q.execute("insert into t values (%s)", (u.username,))
            q.execute("select count(*) from t where v = %s", (u.username,))
            return q.fetchone()[0] > 0

    return use


def redis(u):
    import redis

    c = redis.Redis(u.hostname, u.port, username=u.username, password=u.password, socket_timeout=5, single_connection_client=True)

    def use():
        c.set("user", u.username)
        return c.get("user") == u.username.encode()

    use()
    return use


def amqp(u):
    import pika

    c = pika.BlockingConnection(pika.ConnectionParameters(u.hostname, u.port, u.path[1:], pika.PlainCredentials(u.username, u.password), socket_timeout=5)).channel()
    c.queue_declare("q", durable=True)

    def use():
        c.basic_publish("", "q", b"hello")
        for _ in range(50):
            if c.basic_get("q", auto_ack=True)[2] == b"hello":
                return True
            time.sleep(0.1)
        return False

    return use


def nats(u):
    f = socket.create_connection((u.hostname, u.port), 5).makefile("rwb")

    def line():
        while (text := f.readline()) == b"PING\r\n":
            f.write(b"PONG\r\n")
            f.flush()
        return text

    f.readline()
    f.write(b"CONNECT %s\r\nPING\r\n" % json.dumps({"user": u.username, "pass": u.password, "verbose": False}).encode())
    f.flush()
    if line() != b"PONG\r\n":
        raise PermissionError("NATS does not let %s in" % u.username)
    subject = b"%x" % time.time_ns()  # others hear only themselves
    f.write(b"SUB %s 1\r\n" % subject)

    def use():
        f.write(b"PUB %s 5\r\nhello\r\n" % subject)
        f.flush()
        return line().startswith(b"MSG " + subject) and line() == b"hello\r\n"

    return use


def memcached(u):
    f = socket.create_connection((u.hostname, u.port), 5).makefile("rwb")

    def use():
        f.write(b"set k 0 0 5\r\nhello\r\nget k\r\n")
        f.flush()
        return [f.readline() for _ in range(4)] == [b"STORED\r\n", b"VALUE k 0 5\r\n", b"hello\r\n", b"END\r\n"]

    return use


def s3(u):
    def ask(method, path, body=b""):
        """Sends a request with Amazon's signature, version 4."""
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        scope = "%s/us-east-1/s3/aws4_request" % now[:8]
        digest = hashlib.sha256(body).hexdigest()
        headers = {"host": "%s:%d" % (u.hostname, u.port), "x-amz-content-sha256": digest, "x-amz-date": now}
        names = ";".join(headers)
        canonical = "\n".join([method, path, "", *("%s:%s" % h for h in headers.items()), "", names, digest])
        text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = ("AWS4" + u.password).encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        headers["Authorization"] = "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (u.username, scope, names, signature)
        c = http.client.HTTPConnection(u.hostname, u.port, timeout=5)
        c.request(method, path, body, headers)
        answer = c.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise PermissionError("S3 answers %d: %s" % (answer.status, text[:200]))
        return text

    def use():
        ask("PUT", u.path + "/key", b"hello")
        return ask("GET", u.path + "/key") == b"hello"

    use()
    return use


KINDS = {"mysql": mysql, "postgres": postgres, "redis": redis, "amqp": amqp, "nats": nats, "memcached": memcached, "s3": s3}


def connect(url):
    u = urllib.parse.urlsplit(url)
    return KINDS[u.scheme](u)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        lines = []
        for name, b in sorted(BINDINGS.items()):
            try:
                if name not in SESSIONS:
                    SESSIONS[name] = connect(b["uri"])
                said = "ok" if SESSIONS[name]() else "wrong"
            except Exception as e:
                SESSIONS.pop(name, None)
                said = "failed: %s" % e
            lines.append("%s %s %s\n" % (name, said, b.get("username", "-")))
        body = "".join(lines).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def hold(url):
    use = connect(url)
    print("in at", url.split(":")[0], flush=True)
    try:
        while use():
            time.sleep(0.1)
    except Exception:
        pass
    print("ended at", url.split(":")[0], flush=True)


if sys.argv[1:2] == ["hold"]:
    for url in sys.argv[2:]:
        threading.Thread(target=hold, args=[url]).start()
    for t in threading.enumerate():
        if t is not threading.main_thread():
            t.join()
    sys.exit()
if sys.argv[1:2] == ["try"]:
    for url in sys.argv[2:]:
        try:
            connect(url)
            print("let in at", url.split(":")[0])
        except Exception as e:
            print("kept out at %s: %s" % (url.split(":")[0], str(e) or type(e).__name__))
    sys.exit()
BINDINGS = {b["name"]: b["credentials"] for all in json.loads(os.environ.get("VCAP_SERVICES", "{}")).values() for b in all}
SESSIONS = {}
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.HTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
