#!/usr/bin/env python3
"""An HTTP proxy before an S3 that does what the real one cannot be made to do: fault_proxy.py PORT TARGET_PORT

Rules are given as JSON to POST /__rules, and replace those that were there; what was seen is answered to
GET /__log (and forgotten): "requests", a list of {method, path, headers, size, rule, at}, and "closed", the times at which
the other side has closed connections that were hanging.

A rule is {"method": regex, "path": regex, "skip": n, "times": n, "do": action, ...}: the first that matches
method and path (with its query) is taken, after having let pass `skip` requests, at most `times` times (for ever).

  pass      ask the S3, whatever the rules behind this one say
  answer    status, code, message, headers, body: answer this instead of asking the S3.  With code: an S3 error
  hang      seconds: no answer (600), and then a reset
  reset     at: after so many bytes of the body a reset; without it before the answer
  lose      ask the S3, and reset instead of answering
  truncate  at: so many bytes of the body, and the end of the connection
  short     at: so many bytes of the body, and a Content-Length that agrees
  alter     at: one byte of the body is another one
  spoil     at: one byte of the request's body is another one
  headers   headers: of the answer, replaced
  keep      the answer is kept
  stale     the answer that was kept, again
  drip      seconds: pause before each 4096 bytes of the body
  wait      seconds: pause before the answer, as of a bucket that is far away
"""
import http.client
import json
import re
import select
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TARGET = int(sys.argv[2])
lock = threading.Lock()
rules = []
log = []
closed = []
kept = []


def choose(method, path):
    with lock:
        for rule in rules:
            if not re.search(rule.get("method", ""), method) or not re.search(rule.get("path", ""), path):
                continue
            if rule.get("skip", 0) > 0:
                rule["skip"] -= 1
                return {}
            if rule.get("times", 1) > 0:
                if "times" in rule:
                    rule["times"] -= 1
                return rule
    return {}


class Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/__"):
            return self.control(body)
        rule = choose(self.command, self.path)
        with lock:
            log.append({"method": self.command, "path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()},
                        "size": len(body), "rule": rule.get("do"), "at": time.time()})
        self.serve(rule, body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any

    def control(self, body):
        with lock:
            if self.path == "/__rules":
                rules[:] = json.loads(body)
                answer = b"[]"
            else:
                answer = json.dumps({"requests": log, "closed": closed}).encode()
                log.clear()
                closed.clear()
        self.send(200, {"Content-Length": str(len(answer))}, answer)

    def serve(self, rule, body):
        do = rule.get("do")
        at = rule.get("at", 0)
        if do == "hang":
            self.hang(rule.get("seconds", 600))
            return self.reset()
        if do == "reset" and "at" not in rule:
            return self.reset()
        if do == "answer":
            return self.answer(rule)
        if do == "stale":
            return self.send(*kept[0])
        if do == "spoil":
            body = body[:at] + bytes([body[at] ^ 255]) + body[at + 1:]
        if do == "wait":
            time.sleep(rule["seconds"])
        status, headers, data = self.ask(body)
        if do == "lose":
            return self.reset()
        if do == "keep":
            kept[:] = [(status, headers, data)]
        if do == "headers":
            lower = {k.lower() for k in rule["headers"]}
            headers = {k: v for k, v in headers.items() if k.lower() not in lower}
            headers.update({k: v for k, v in rule["headers"].items() if v is not None})
        if do == "alter":
            data = data[:at] + bytes([data[at] ^ 255]) + data[at + 1:]
        if do == "short":
            data = data[:at]
            headers["Content-Length"] = str(at)
        if do in ("truncate", "reset"):
            self.send(status, headers, data[:at])
            time.sleep(0.05)
            if do == "reset":
                return self.reset()
            self.close_connection = True
            return None
        if do == "drip":
            self.send(status, headers, b"")
            for i in range(0, len(data), 4096):
                time.sleep(rule["seconds"])
                self.wfile.write(data[i:i + 4096])
            return None
        return self.send(status, headers, data)

    def hang(self, seconds):
        if not select.select([self.connection], [], [], seconds)[0]:
            return
        try:
            gone = not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            gone = True
        if gone:
            with lock:
                closed.append(time.time())

    def ask(self, body):
        connection = http.client.HTTPConnection("127.0.0.1", TARGET, timeout=60)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        data = answer.read()
        headers = {k: v for k, v in answer.getheaders() if k.lower() not in ("connection", "transfer-encoding", "keep-alive")}
        if self.command != "HEAD" and answer.status != 204:
            headers = {k: v for k, v in headers.items() if k.lower() != "content-length"}
            headers["Content-Length"] = str(len(data))
        connection.close()
        return answer.status, headers, data

    def answer(self, rule):
        data = rule.get("body", "").encode()
        if "code" in rule:
            data = ("<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>%s</Message></Error>"
                    % (rule["code"], rule.get("message", ""))).encode()
        headers = dict(rule.get("headers", {}))
        headers["Content-Length"] = str(len(data))
        self.send(rule["status"], headers, b"" if self.command == "HEAD" else data)

    def send(self, status, headers, data):
        head = "HTTP/1.1 %d %s\r\n" % (status, http.client.responses.get(status, ""))
        head += "".join("%s: %s\r\n" % pair for pair in headers.items())
        self.wfile.write(head.encode() + b"\r\n" + data)

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.connection.close()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def shutdown_request(self, request):
        try:
            super().shutdown_request(request)
        except OSError:
            pass

    def handle_error(self, *_):
        pass


Server(("127.0.0.1", int(sys.argv[1])), Proxy).serve_forever()
