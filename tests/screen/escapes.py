"""What may be written to a terminal: escapes of a fixed list, no other control character, no broken or deceiving text."""
import re

# What ncurses and the program write for the terminals that the tests use: cursor, erase, attributes, modes, charset, keypad.
ALLOWED = re.compile(
    rb"\x1b(?:\[[0-9;]*[ABCDGHJKLMPX@dfmrbST]|\[[0-9;]*[hl]|\[\?(?:1|7|12|25|1000|1004|1006|1049|2004|2026)[hl]|\[\?12;25h"
    rb"|\[\?1;?[0-9]*[hl]|\[\?2026\$p|\[\?1036[hrs]|\]11;\?\x1b\\|\[22;0;0t|\[23;0;0t|\[!p|\[\?3;4l|\[\?0?c|\[\?1c|\[\?8c|\[3g|\(B|\)0|[=>78DEHM])")
COPY = re.compile(rb"\x1b\]52;c;[A-Za-z0-9+/=]*\x07")  # only what a person asked for


def check(output, places=True, copies=0):
    """No escape but those allowed (and so many copies), no other control character but CR, LF, and the ones ncurses moves with."""
    assert len(COPY.findall(output)) == copies, COPY.findall(output)
    left = ALLOWED.sub(b"", COPY.sub(b"", output))
    strange = re.search(rb".{0,40}\x1b.{0,20}", left, re.S)
    assert not strange, strange.group()
    moves = b"\r\n\b\t" + (b"\x0e\x0f" if places == "charsets" else b"") if places else b"\r\n"
    for byte in left:
        assert byte >= 0x20 and byte != 0x7f or byte in moves, hex(byte)
    text = left.decode("utf-8")  # strict: nothing broken is written either
    bad = [hex(ord(c)) for c in text if 0x80 <= ord(c) < 0xa0 or c in "\u202e\u2066\u200b\ufffe" or 0xe0000 <= ord(c) < 0xe0080]
    assert not bad, bad


def streamed(output):
    """Of an answer that is being said: nothing of it clears the screen."""
    assert b"\x1b[2J" not in output and b"\x1b[J" not in output and b"\x1b[H\x1b[J" not in output, "a full clear while streaming"
