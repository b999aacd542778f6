"""Translates the part of Google's XML protocol that destinations use to the JSON of fake-gcs-server.

usage: shim.py LISTEN_PORT UPSTREAM_PORT

It supports create-only uploads, multipart uploads with listing and completion, ranges, listings and deletion.
Real GCS rejects conditions on multipart uploads, so the shim ignores them.
"""

import hashlib
import http.client
import json
import sys
import uuid
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

UPSTREAM = f"127.0.0.1:{sys.argv[2]}"
UPLOADS = {}  # by id: bucket, name, headers, time, and the parts by number
KEPT = ("etag", "last-modified", "content-type", "content-range", "x-goog-generation")


def ask(method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(UPSTREAM)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def put(bucket, name, content, headers, generation):
    about = {"name": name, "contentType": "application/octet-stream"}
    about["metadata"] = {n[12:].lower(): v for n, v in headers.items() if n.lower().startswith("x-goog-meta-")}
    edge = uuid.uuid4().hex
    body = f"--{edge}\r\nContent-Type: application/json\r\n\r\n{json.dumps(about)}\r\n--{edge}\r\nContent-Type: application/octet-stream\r\n\r\n"
    query = f"?uploadType=multipart&name={quote(name, safe='')}"
    if generation is not None:
        query += f"&ifGenerationMatch={generation}"
    kind = {"Content-Type": f"multipart/related; boundary={edge}"}
    return ask("POST", f"/upload/storage/v1/b/{bucket}/o{query}", body.encode() + content + f"\r\n--{edge}--\r\n".encode(), kind)


class Shim(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, content=b"", headers=()):
        self.send_response(status)
        names = [name.lower() for name, _ in headers]
        for name, value in headers:
            self.send_header(name, value)
        if "content-length" not in names:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def xml(self, text):
        self.answer(200, ('<?xml version="1.0"?>' + text).encode(), [("Content-Type", "application/xml")])

    def refuse(self, status, code):
        self.answer(status, f"<Error><Code>{code}</Code></Error>".encode())

    def made(self, status, content):
        if status != 200:
            return self.refuse(status, "PreconditionFailed" if status == 412 else "NoSuchBucket" if status == 404 else "Failed")
        made = json.loads(content)
        self.answer(200, b"", [("ETag", f'"{made["etag"].strip(chr(34))}"'), ("x-goog-generation", str(made["generation"]))])

    def serve(self):
        address = urlsplit(self.path)
        query = parse_qs(address.query, keep_blank_values=True)
        bucket, _, name = address.path.lstrip("/").partition("/")
        bucket, name = unquote(bucket), unquote(name)
        content = self.rfile.read(int(self.headers.get("content-length") or 0))
        if not name:
            self.of_bucket(bucket, address, query)
        elif "uploads" in query:
            self.begin(bucket, name)
        elif "uploadId" in query:
            self.of_upload(query, content)
        elif self.command == "PUT":
            status, _, content = put(bucket, name, content, self.headers, self.headers.get("x-goog-if-generation-match"))
            self.made(status, content)
        else:
            self.of_object(bucket, name)

    def of_bucket(self, bucket, address, query):
        if "uploads" not in query:
            status, _, content = ask("GET", f"/{bucket}?{address.query}")
            return self.answer(status, content, [("Content-Type", "application/xml")])
        prefix = query["prefix"][0]
        found = [(i, u) for i, u in UPLOADS.items() if u["bucket"] == bucket and u["name"].startswith(prefix)]
        self.xml("<ListMultipartUploadsResult>" + "".join(
            f"<Upload><Key>{escape(u['name'])}</Key><UploadId>{i}</UploadId><Initiated>{u['time']}</Initiated></Upload>" for i, u in found
        ) + "<IsTruncated>false</IsTruncated></ListMultipartUploadsResult>")

    def begin(self, bucket, name):
        identifier = uuid.uuid4().hex
        time = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        UPLOADS[identifier] = {"bucket": bucket, "name": name, "headers": self.headers, "time": time, "parts": {}}
        self.xml(f"<InitiateMultipartUploadResult><UploadId>{identifier}</UploadId></InitiateMultipartUploadResult>")

    def of_upload(self, query, content):
        identifier = query["uploadId"][0]
        upload = UPLOADS.get(identifier)
        if upload is None:
            return self.refuse(404, "NoSuchUpload")
        if self.command == "PUT":
            upload["parts"][int(query["partNumber"][0])] = content
            return self.answer(200, b"", [("ETag", f'"{hashlib.md5(content).hexdigest()}"')])
        if self.command == "DELETE":
            del UPLOADS[identifier]
            return self.answer(204)
        numbers = [int(e.text) for e in ElementTree.fromstring(content).iter() if e.tag.endswith("PartNumber")]
        whole = b"".join(upload["parts"][number] for number in numbers)
        status, _, told = put(upload["bucket"], upload["name"], whole, upload["headers"], None)
        if status != 200:
            return self.refuse(status, "Failed")
        UPLOADS.pop(identifier, None)
        self.xml(f"<CompleteMultipartUploadResult><ETag>\"{json.loads(told)['etag'].strip(chr(34))}\"</ETag></CompleteMultipartUploadResult>")

    def of_object(self, bucket, name):
        asked = {n: v for n, v in self.headers.items() if n.lower() in ("range", "if-match", "if-none-match")}
        if self.command == "DELETE":
            status, _, _ = ask("DELETE", f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}")
            return self.answer(204) if status == 200 else self.refuse(status, "NoSuchKey")
        status, headers, content = ask(self.command, f"/{bucket}/{quote(name, safe='')}", None, asked)
        if status == 404:
            return self.refuse(404, "NoSuchKey")
        kept = [(n, v) for n, v in headers.items() if n.lower() in KEPT or n.lower().startswith("x-goog-meta-")]
        if self.command == "HEAD":
            kept.append(("Content-Length", headers.get("content-length")))
        self.answer(status, content, kept)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = serve


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Shim).serve_forever()
