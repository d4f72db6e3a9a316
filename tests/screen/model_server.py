"""A server of models for tests, on this machine: the Hugging Face hub and the Ollama registry, well-behaved or not.

Set the attributes of a Server to make it misbehave; `requests` tells what was asked of it. Python's standard library only."""
import hashlib, json, re, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" * 6 + "c0de"


class Server:
    def __init__(self):
        self.repositories = {}  # "user/repo": {path: bytes}
        self.registry = {}      # "library/name": {tag: manifest}, blobs by digest in self.blobs
        self.blobs = {}         # digest: bytes
        self.requests = []      # (path, range or None, authorization or None, host)
        self.served = 0         # bytes of blobs
        self.behave()
        handler = type("Handler", (Handler,), {"server_state": self})
        self.http = Listener(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def behave(self):
        """Forget all faults."""
        self.ranges = True          # False: 200 and everything, whatever was asked for
        self.cuts = set()           # offsets of the file: the first answer that passes one ends there
        self.wall = None            # an offset that no answer passes
        self.hang = None            # the same, but the connection stays open
        self.trickle = 0            # seconds between pieces of 1 KiB
        self.total = None           # what Content-Range claims
        self.spoil = False          # another byte in the middle
        self.loop = False           # the bytes are always somewhere else
        self.blob_status = None     # (status, headers) instead of bytes
        self.api_status = None      # the same for questions
        self.times = None           # so often, then it behaves; None: for ever
        self.gated = self.private = False
        self.renamed = {}           # old: new
        self.tree = None            # a function of the list of files
        self.commit = COMMIT
        self.page = 1000            # files a page

    def add(self, repository, **files):
        files = {name: data for name, data in files.items()}
        self.repositories[repository] = files
        for data in files.values():
            self.blobs[hashlib.sha256(data).hexdigest()] = data

    def add_registry(self, name, tag, data, media="application/vnd.ollama.image.model", digest=None):
        digest = digest or "sha256:" + hashlib.sha256(data).hexdigest()
        self.blobs[hashlib.sha256(data).hexdigest()] = data
        layers = [{"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:" + "0" * 64, "size": 3},
                  {"mediaType": media, "digest": digest, "size": len(data)}]
        self.registry.setdefault(name, {})[tag] = json.dumps({"schemaVersion": 2, "layers": layers}).encode()


class Listener(ThreadingHTTPServer):
    def handle_error(self, request, client):
        pass  # clients end, and are cut, whenever they like


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state = None

    def log_message(self, *arguments):
        pass

    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def faulty(self, fault):
        """Whether this fault happens now; those that are counted come to an end."""
        state = self.server_state
        if not fault:
            return False
        if state.times is not None:
            if state.times <= 0:
                return False
            state.times -= 1
        return True

    def do_GET(self):
        state = self.server_state
        path = re.sub(r"^http://[^/]*", "", self.path)  # as a proxy is asked
        state.requests.append((path, self.headers.get("Range"), self.headers.get("Authorization"), self.headers.get("Host")))
        try:
            self.answer(path)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def answer(self, path):
        state = self.server_state
        blob = re.fullmatch(r"/cdn/([0-9a-f]{64})", path) or re.fullmatch(r"/v2/[^/]+/[^/]+/blobs/sha256:([0-9a-f]{64})", path)
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(refs|tree/.*)", path)
        resolve = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.*)", path)
        manifest = re.fullmatch(r"/v2/([^/]+/[^/]+)/manifests/(.+)", path)
        if path.startswith("/loop"):
            self.reply(302, Location=f"/loop{time.monotonic_ns()}")
        elif blob:
            self.blob(state.blobs.get(blob[1]))
        elif (api or manifest) and self.faulty(state.api_status):
            status, headers = state.api_status
            self.reply(status, b"{}", **headers)
        elif api:
            self.api(api[1], api[2])
        elif resolve:
            self.resolve(resolve[1], resolve[3])
        elif manifest:
            body = state.registry.get(manifest[1], {}).get(manifest[2])
            self.reply(200, body) if body else self.reply(404, b"{}")
        else:
            self.reply(404, b"nothing")

    def allowed(self, repository, asks_bytes):
        state = self.server_state
        known = self.headers.get("Authorization") == "Bearer good-token"
        if repository not in state.repositories or (state.private and not known):
            self.reply(404 if known else 401, b"{}", X_Error_Code="RepoNotFound")
        elif state.gated and asks_bytes and not known:
            self.reply(403 if self.headers.get("Authorization") else 401, b"{}", X_Error_Code="GatedRepo")
        else:
            return True
        return False

    def api(self, repository, what):
        state = self.server_state
        if repository in state.renamed:
            return self.reply(307, Location=f"{state.url}/api/models/{state.renamed[repository]}/{what}")
        if not self.allowed(repository, False):
            return None
        if what == "refs":
            return self.reply(200, json.dumps({"tags": [], "branches": [{"name": "other", "targetCommit": "0" * 40},
                                                                        {"name": "main", "targetCommit": state.commit}]}).encode())
        files = [{"type": "directory", "path": "sub", "oid": "0" * 40, "size": 0}]
        for name, data in state.repositories[repository].items():
            row = {"type": "file", "path": name, "size": len(data), "oid": "1" * 40}
            if name.endswith(".gguf"):
                row["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            files.append(row)
        if state.tree:
            files = state.tree(files)
        page = int((re.search(r"page=(\d+)", what) or [0, "0"])[1])
        shown, more = files[page * state.page:(page + 1) * state.page], len(files) > (page + 1) * state.page
        link = {"Link": f'<{state.url}/api/models/{repository}/tree/{state.commit}?recursive=true&page={page + 1}>; rel="next"'} if more else {}
        return self.reply(200, json.dumps(shown).encode(), **link)

    def resolve(self, repository, path):
        state = self.server_state
        from urllib.parse import unquote
        data = state.repositories.get(repository, {}).get(unquote(path))
        if not self.allowed(repository, True):
            return None
        if data is None:
            return self.reply(404, b"{}", X_Error_Code="EntryNotFound")
        if state.loop:
            return self.reply(302, Location="/loop")
        # bytes come from another host: what was meant for this one must not go there
        return self.reply(302, Location=f"http://localhost:{state.port}/cdn/{hashlib.sha256(data).hexdigest()}")

    def blob(self, data):
        state = self.server_state
        if data is None:
            return self.reply(404, b"nothing")
        if self.faulty(state.blob_status):
            status, headers = state.blob_status
            return self.reply(status, b"a page of words", **headers)
        begin, end = 0, len(data)
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if state.spoil:
            data = data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1:]
        ranged = asked and state.ranges
        if ranged:
            begin, end = int(asked[1]), int(asked[2]) + 1
        self.send_response(206 if ranged else 200)
        if ranged:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{state.total or len(data)}")
        self.send_header("Content-Length", str(end - begin if ranged else state.total or end - begin))
        self.end_headers()
        return self.send(data, begin, end)

    def send(self, data, begin, end):
        """As far as the faults let it; then the connection is cut in the middle."""
        state = self.server_state
        cut = min([c for c in state.cuts if begin <= c < end], default=None)
        hang = state.hang if state.hang is not None and begin <= state.hang < end else None
        stops = [s for s in (cut, state.wall, hang) if s is not None and s < end]
        stop = max(min(stops, default=end), begin)
        if cut is not None and stop == cut:
            state.cuts.discard(cut)
        step = 1024 if state.trickle else 65536
        for at in range(begin, stop, step):
            self.wfile.write(data[at:min(at + step, stop)])
            state.served += min(at + step, stop) - at
            if state.trickle:
                time.sleep(state.trickle)
        if stop < end:
            self.wfile.flush()
            if stop == hang:
                for _ in range(200):
                    if state.hang is None:
                        break
                    time.sleep(0.05)
            self.close_connection = True
            self.connection.close()
