"""The real program in a real terminal: in tmux, on a bare pty whose output is recorded, or without a terminal.

Everything waits for a condition; nothing sleeps for luck. Python's standard library only."""
import atexit, fcntl, os, pty, select, shutil, signal, struct, subprocess, sys, tempfile, termios, time

LOGITOP = os.environ.get("LOGITOP", "build/run/app/logitop")
THIRD_PARTY = os.environ.get("THIRD_PARTY", "build/third-party")
MODEL = os.path.join(THIRD_PARTY, "SmolLM2-135M-Instruct.Q4_1.gguf")
SLOW = float(os.environ.get("TEST_PATIENCE", "1"))  # sanitizers and loaded machines: multiply every wait

home = tempfile.mkdtemp(prefix="logitop-test-")
atexit.register(shutil.rmtree, home, True)


def skip(why):
    print("skipped:", why)
    sys.exit(77)


def need_model():
    if not os.path.exists(MODEL):
        skip("the default model is not in build/third-party (./test fetches it)")


def environment(**changes):
    """A user's environment with a home of its own."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "NO_COLOR", "CLICOLOR", "TMUX", "LOGITOP"))}
    env.update(HOME=home, LANG="C.UTF-8", LC_ALL="C.UTF-8", TERM="xterm-256color", XDG_STATE_HOME=os.path.join(home, "state"),
               XDG_DATA_HOME=os.path.join(home, "data"), EDITRC="/dev/null")
    for name, value in changes.items():
        env.pop(name, None)
        if value is not None:
            env[name] = value
    return env


def write(name, text):
    path = os.path.join(home, name)
    with open(path, "wb") as f:
        f.write(text if isinstance(text, bytes) else text.encode())
    return path


def wait(what, condition, seconds=20, show=None):
    """The condition's first true value; fails with what the screen showed."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for {what}" + ("; shown:\n" + "\n".join(l for l in show().splitlines() if l.strip()) if show else ""))
        time.sleep(0.02)


def run(*arguments, stdin=b"", seconds=60, env=None):
    """Without a terminal: (exit code, standard output, standard error)."""
    done = subprocess.run([LOGITOP, *arguments], input=stdin, capture_output=True, timeout=seconds * SLOW,
                          env=env or environment())
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


class Tmux:
    """The program in a tmux pane, under a shell that notes its exit code and the terminal's settings before and after."""
    count = 0

    def __init__(self, *arguments, columns=120, rows=40, before="", after_stop="", **env):
        if not shutil.which("tmux"):
            skip("tmux is not installed")
        Tmux.count += 1
        self.socket = f"logitop-{os.getpid()}-{Tmux.count}"
        self.folder = tempfile.mkdtemp(dir=home)
        quoted = " ".join("'" + a.replace("'", "'\\''") + "'" for a in (LOGITOP, *arguments))
        script = write(os.path.join(self.folder, "pane.sh"),
                       f"cd {self.folder}; stty -a >before; {before}\n"
                       f"{quoted} 2>stderr\ncode=$?\n{after_stop}\necho $code >code; stty -a >after\necho LEFT-THE-PROGRAM\nexec sleep 1000\n")
        self.env = environment(**env)
        atexit.register(self.close)
        self.tmux("-f", "/dev/null", "start-server", ";", "set", "-g", "default-terminal", "tmux-256color", ";", # before 3.3 it had eight colours
                  "new-session", "-d", "-x", str(columns), "-y", str(rows), "sh", script,
                  ";", "set", "-g", "status", "off")

    def tmux(self, *arguments):
        return subprocess.run(["tmux", "-L", self.socket, *arguments], env=self.env, capture_output=True, check=True).stdout

    def close(self):
        subprocess.run(["tmux", "-L", self.socket, "kill-server"], env=self.env, capture_output=True)

    def screen(self, *how):
        return self.tmux("capture-pane", "-p", *how).decode(errors="replace")

    def wait(self, *texts, seconds=20, absent=()):
        """Until all texts are on the screen at once, and none of the absent ones is."""
        def there():
            shown = self.screen()
            if "LEFT-THE-PROGRAM" in shown and not any(t in shown for t in texts):
                raise AssertionError(f"the program ended while waiting for {texts}: {self.file('stderr')}")
            return shown if all(t in shown for t in texts) and not any(t in shown for t in absent) else None
        return wait(f"{texts}" + (f" without {absent}" if absent else ""), there, seconds, self.screen)

    def settled(self):
        """What is shown once nothing changes any more."""
        seen = [None]

        def same():
            seen.append(self.screen())
            return seen[-1] if len(seen) > 8 and len(set(seen[-8:])) == 1 else None
        return wait("a screen that stays", same)

    def type(self, text):
        self.tmux("send-keys", "-l", "--", text)

    def keys(self, *names):
        self.tmux("send-keys", *names)

    def say(self, text):
        """Type a line, and send it once it is shown."""
        self.type(text)
        self.wait(text[-30:])
        self.keys("Enter")

    def bytes(self, data):
        """Raw bytes as if a terminal had sent them."""
        self.tmux("send-keys", "-H", *[f"{b:02x}" for b in data])

    def resize(self, columns, rows):
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def pid(self):
        """Of the program itself, the shell's child."""
        shell = self.tmux("display", "-p", "#{pane_pid}").decode().strip()

        def child():
            with open(f"/proc/{shell}/task/{shell}/children") as f:
                return f.read().split()
        return int(wait("the program to start", child)[0])

    def file(self, name):
        path = os.path.join(self.folder, name)
        return open(path).read() if os.path.exists(path) else ""

    def left(self, seconds=20):
        """Wait until the program ended; its exit code. The terminal must be as it was."""
        wait("the program to end", lambda: self.file("after").endswith("\n") and self.file("code"), seconds, self.screen)
        before, after = self.file("before"), self.file("after")
        assert before == after, f"the terminal was left changed:\n{before}\n{after}"
        return int(self.file("code"))


class Pty:
    """The program on a bare pty; everything it writes is kept in .output."""

    def __init__(self, *arguments, columns=100, rows=30, stderr=None, stdout=None, **env):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.output = b""

        def own_terminal():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        self.process = subprocess.Popen([LOGITOP, *arguments], stdin=slave, stdout=stdout if stdout is not None else slave,
                                        stderr=stderr if stderr is not None else slave, env=environment(**env),
                                        preexec_fn=own_terminal)
        atexit.register(self.close)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for fd in (self.master, self.slave):
            if fd is not None:
                try:
                    os.close(fd)
                except OSError:
                    pass
        self.master = self.slave = None

    def read(self):
        while self.master is not None and select.select([self.master], [], [], 0)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                break
            if not data:
                break
            self.output += data
        return self.output

    def wait(self, what, seconds=20):
        """what: bytes in the output, or a function of it."""
        condition = (lambda: what in self.read()) if isinstance(what, bytes) else (lambda: what(self.read()))
        return wait(repr(what), condition, seconds, lambda: repr(self.output[-2000:]))

    def send(self, data):
        os.write(self.master, data)

    def hang_up(self):
        """The terminal goes away."""
        os.close(self.slave)
        os.close(self.master)
        self.master = self.slave = None

    def left(self, seconds=20):
        wait("the program to end", lambda: (self.read(), self.process.poll() is not None)[1], seconds,
             lambda: repr(self.output[-2000:]))
        self.read()
        return self.process.returncode


def each(tests):
    """Run the functions of a module whose names begin with test_, say how each went, and leave with 1 if one failed."""
    failed = 0
    for name, function in list(tests.items()):
        if not name.startswith("test_") or (len(sys.argv) > 1 and sys.argv[1] not in name):
            continue
        start = time.monotonic()
        try:
            function()
            print(f"ok    {name} ({time.monotonic() - start:.1f} s)", flush=True)
        except Exception:
            import traceback
            traceback.print_exc()
            print(f"FAIL  {name}", flush=True)
            failed += 1
    sys.exit(1 if failed else 0)
