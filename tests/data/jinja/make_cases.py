#!/usr/bin/env python3
"""Write cases.json: small templates and what jinja2 makes of them, with the environment that Hugging Face renders chat templates in.

Needs jinja2 3.1. Each case is {"template", "context"} with "output", or with "error": the class of the exception; for a
template's own refusal also "words". Run it in its folder: ./make_cases.py > cases.json
"""
import datetime
import json
import sys

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime.datetime(2026, 3, 5, 14, 7, 9)


class Refused(jinja2.exceptions.TemplateError):
    pass


def raise_exception(message):
    raise Refused(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_support"), [], [], body).set_lineno(line)

    def _support(self, caller):
        return caller()


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.filters["from_json"] = json.loads
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env


CONTEXT = {
    "s": "Hello World", "u": "naïve 你好 🦙 ß", "e": "", "n": 7, "neg": -3, "f": 2.5, "t": True, "no": False, "nil": None,
    "xs": [3, 1, 2], "ws": ["b", "A", "c"], "d": {"b": 1, "a": 2, "C": 3}, "nest": {"x": {"y": [1, {"z": "deep"}]}},
    "rows": [{"name": "Ann", "age": 30, "city": "Rome"}, {"name": "bob", "age": 25, "city": "oslo"},
             {"name": "Cy", "age": 30, "city": "rome"}],
    "text": "  one\ntwo  \n\n three\t", "html": "<b>&\"'</b>", "items": [1, 2], "tree": [{"v": 1, "c": [{"v": 2, "c": []}, {"v": 3}]}],
    "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}, {"role": "user", "content": "Bye"}],
}

# printed as {{ ... }}
EXPRESSIONS = r"""
1 + 2 * 3
(1 + 2) * 3
7 / 2
7 // 2
-7 // 2
7 % 3
-7 % 3
7 % -3
2 ** 10
2 ** -1
2 ** 3 ** 2
-2 ** 2
- n
+neg
7.5 // 2
-7.5 // 2
7.5 % 2
-7.5 % 2
1e3
1.5e-7
1e16
1e15
123456789012345678
0.1 + 0.2
1 / 3
100.0
1e22
5e-324
1.0 * 3
0x1F + 0b101 + 0o17
1_000_000
9223372036854775807
9223372036854775807 - 1
1 == 1.0
1 == true
"1" == 1
none == false
[1, 2] == [1, 2]
(1, 2) == [1, 2]
{"a": 1} == {"a": 1.0}
1 < 2 < 3
1 < 3 < 2
3 > 2 >= 2 != 1
"a" < "b"
"B" < "a"
[1, 2] < [1, 3]
(1,) < (1, 0)
"a" in "abc"
"x" not in "abc"
"" in ""
2 in xs
"a" in d
"z" in d
5 in range(10)
5 in range(0, 10, 2)
1.0 in [1]
none in [none]
missing in [1]
not true
not not n
not n == 7
true and 0
0 or "x"
"" or none
e and 1
n and s
nil or no or "last"
"yes" if t else "no"
"yes" if no else "no"
"yes" if no
("a" if no) is defined
1 if t else 2 if no else 3
"a" ~ 1 ~ none ~ true ~ 1.5
"a" + "b" * 3
3 * "ab"
[1] + [2, 3]
[0] * 3
(1, 2) + (3,)
[1, 2] + [3] + [4]
"ab" "cd" 'ef'
'it''s'
"tab\there"
"nl\nx"
"q\"q\'q"
"back\\slash"
"\x41\u00e9\U0001F999\101"
"\q stays"
'a\
b'
[]
()
{}
(1,)
[1, 'a', none, true, 1.5]
(1, "two", [3])
{"a": 1, 'b': [1, 2], 3: none}
["it's", 'say "hi"', 'both \' and "']
["\n\t\\", "é", "\u200b", "\x7f"]
true
True
none
None
no
nil
[true, false, none]
s
u
f
xs
d
d.b
d["a"]
nest.x.y[1].z
nest["x"]["y"][0]
xs[0]
xs[-1]
xs[5]
xs[-4]
s[0]
s[-1]
u[6]
u[-3]
s[1:4]
s[:3]
s[-5:]
s[::-1]
s[::2]
s[10:2:-3]
u[6:8]
u[::-1]
xs[1:]
xs[:-1]
xs[::-1]
xs[::2]
xs[5:]
xs[-100:100]
(1, 2, 3, 4)[1:3]
range(10)[2:5]
range(5)
range(2, 8, 3)
range(3) | list
range(5, 0, -2) | list
range(0) | list
range(3)[-1]
range(10) | length
messages[0].role
messages[-1]['content']
messages | length
messages[1:] | length
messages[::-1][0].content
missing
missing | length
missing | default("x")
d.missing
d.missing | default("y")
d["nope"]
nest.x.nope
missing or "alt"
missing == missing
missing == none
missing ~ "x"
missing | upper
missing | list
missing | join
missing | first | default("none")
missing | string
missing is defined
n is defined
d.a is defined
d.q is defined
missing is undefined
n is number
t is number
f is number
s is number
n is integer
t is integer
f is float
n is float
t is boolean
n is boolean
s is string
n is string
xs is sequence
s is sequence
d is sequence
n is sequence
missing is sequence
xs is iterable
s is iterable
n is iterable
d is iterable
(xs | map("string")) is iterable
(xs | map("string")) is sequence
d is mapping
xs is mapping
nil is none
n is none
nil is not none
n is odd
n is even
n is divisibleby 7
n is divisibleby(2)
n is eq 7
n is equalto 8
n is ne 8
n is gt 3
n is ge 7
n is lt 3
n is le 7
n is greaterthan 6
n is lessthan 6
n is in [1, 7]
n is sameas n
t is sameas true
t is true
no is false
n is true
"ABC" is upper
"abc" is lower
"aBc" is upper
"1" is upper
range is callable
s is callable
"upper" is filter
"nope" is filter
"odd" is test
html is escaped
(html | e) is escaped
not n is odd
n is not odd
n is odd and t
s | upper
s | lower
u | upper
"ÀÉ ΑΣ" | lower
"straße ŉ ﬁ" | upper
s | capitalize
"hello wORLD-foo (bar) [baz]" | title
"hello wORLD-foo".title()
"ǆ ß ﬁx" | capitalize
"Hello".swapcase()
text | trim
"xxhixx" | trim("x")
"xyhiyx".strip("xy")
"  a ".lstrip() ~ "|"
"  a ".rstrip() ~ "|"
"é你é".strip("é")
s | length
u | length
d | length
e | length
s | reverse
xs | reverse | list
xs | first
xs | last
s | first
s | last
[] | first
[] | last is defined
xs | sort
xs | sort(reverse=true)
ws | sort
ws | sort(case_sensitive=true)
rows | sort(attribute="age") | map(attribute="name") | join(",")
rows | sort(attribute="age,name") | map(attribute="name") | join(",")
rows | sort(attribute="age", reverse=true) | map(attribute="name") | list
[[2, "b"], [1, "z"], [2, "a"]] | sort
xs | min
xs | max
ws | min
ws | max(case_sensitive=true)
rows | max(attribute="age")
[] | min is defined
xs | sum
rows | sum(attribute="age")
rows | sum("age", 100)
[1.5, 2] | sum
xs | join
xs | join(", ")
xs | join(d="-")
rows | join("; ", attribute="name")
rows | map(attribute="name") | list
rows | map(attribute="zip", default="?") | list
ws | map("upper") | list
ws | map("replace", "A", "x") | list
[1, 2.5, "3"] | map("int") | list
nest | map("upper") | list
xs | select | list
[0, 1, "", "a", none] | select | list
xs | select("odd") | list
xs | reject("odd") | list
xs | select("gt", 1) | list
xs | select("divisibleby", 2) | list
xs | select("in", [1, 2]) | list
rows | selectattr("age", "equalto", 30) | map(attribute="name") | list
rows | selectattr("age", "==", 25) | list | length
rows | rejectattr("age", "gt", 26) | map(attribute="name") | list
rows | selectattr("zip", "defined") | list
rows | selectattr("zip") | list
rows | rejectattr("name") | list
rows | map(attribute="name") | map("lower") | select("ne", "bob") | join("+")
[1, 2, 1, 3, 2] | unique | list
["a", "A", "b"] | unique | list
["a", "A", "b"] | unique(case_sensitive=true) | list
rows | unique(attribute="age") | map(attribute="name") | list
rows | groupby("age") | length
rows | groupby("age")
rows | groupby("city") | map("first") | list
rows | groupby("city", case_sensitive=true) | map(attribute="grouper") | list
rows | groupby("zip", default="none") | map(attribute="0") | list
[1, 2, 3, 4, 5] | batch(2) | list
[1, 2, 3, 4, 5] | batch(2, "x") | list
[1, 2, 3, 4, 5, 6, 7] | slice(3) | list
[1, 2, 3, 4, 5, 6, 7] | slice(3, "x") | list
"abc" | list
d | list
d | items | list
d.items() | list
d.keys() | list
d.values() | list
d.items()
d.keys()
d | dictsort
d | dictsort(true)
d | dictsort(by="value", reverse=true)
d.get("a")
d.get("q")
d.get("q", "dflt")
d.get("a", 5)
{"items": 3}["items"]
{"get": 1} | items | list
d.copy()
missing | items | list
{1: "a", true: "b", 1.0: "c"}
{"a": 1, "a": 2}
{(1, 2): "t"}[(1, 2)]
dict(a=1, b=2)
dict({"x": 1}, y=2)
dict([("k", "v")])
s | replace("l", "L")
s | replace("l", "L", 1)
"aaa" | replace("", "-")
"aaa" | replace("a", "")
"a.b".replace(".", "!")
"aXbXc".replace("X", "-", 1)
5 | replace("5", "6")
s.split()
s.split("o")
s.split("o", 1)
" a  b c ".split()
" a  b c ".split(none, 1)
" a  b c ".split(" ")
"a,b,,c".split(",")
"a,b,c".rsplit(",", 1)
" a  b c ".rsplit(none, 1)
"a\nb\r\nc\n".splitlines()
"a\nb\n".splitlines(true)
"k=v=w".partition("=")
"k=v=w".rpartition("=")
"none".partition("=")
"none".rpartition("=")
"abc".startswith("ab")
"abc".startswith(("x", "a"))
"abc".startswith("b", 1)
"abc".endswith("bc")
"abc".endswith("b", 0, 2)
"abcabc".find("c")
"abcabc".find("z")
"abcabc".rfind("c")
"abcabc".index("b", 2)
"你好你".find("好")
"banana".count("an")
"banana".count("")
"banana".count("a", 2)
"abc".upper() ~ "ABC".lower()
"hello world".capitalize()
"x".center(5) ~ "|"
"ab".center(5, "*")
"ab".ljust(5, ".")
"ab".rjust(5)
"x" | center(6) ~ "|"
"42".zfill(5)
"-42".zfill(5)
"a\tb".expandtabs(4)
"-".join(["a", "b"])
"".join("abc")
"abc".isalpha()
"ab1".isalnum()
"12".isdigit()
"²".isdigit()
"²".isdecimal()
"½".isnumeric()
" \t".isspace()
"".isspace()
"Ab Cd".istitle()
"abc".islower()
"ABC1".isupper()
"a_1".isidentifier()
"1a".isidentifier()
"prefix-x".removeprefix("prefix-")
"x.txt".removesuffix(".txt")
"abc"[1].upper()
[1, 2, 1].count(1)
[1, 2, 1].index(2)
(1, 2, 1).count(1)
"%s is %d" % ("x", 5)
"%05.2f|%-6s|%+d" % (3.14159, "ab", 4)
"%x %X %o %#x %e %g" % (255, 255, 8, 255, 12345.678, 0.0001)
"%5s|%-5s|%.2s" % ("a", "b", "cde")
"%%|%c|%r" % ("x", "q")
"%s" % none
"%s" % [[1, 2]]
"%(a)s-%(b)d" % {"a": "x", "b": 3}
"%d" % 3.9
"%s %s" | format("a", 1)
"%(x)s" | format(x="kw")
"{} {}".format("a", 1)
"{1} {0}".format("a", "b")
"{x} {y:>5}|{z:<4}|{w:^5}".format(x=1, y="r", z="l", w="c")
"{:05d} {:+d} {:,} {:x} {:#b}".format(42, 7, 1234567, 255, 5)
"{:.2f} {:8.3f} {:e} {:%} {:g}".format(3.14159, 2.5, 12345.6789, 0.25, 1e10)
"{:*^9}".format("mid")
"{0[1]} {1[k]}".format([1, 2], {"k": "v"})
"{!r} {{}}".format("q")
"{:{w}}|".format("a", w=4)
"{:.3}".format("abcdef")
"{:.3}".format(3.14159)
"{:_}".format(1000000)
"a" | default("b")
"" | default("b")
"" | default("b", true)
none | default("b")
none | default("b", boolean=true)
0 | d(5, true)
"42" | int
"42.9" | int
"abc" | int
"abc" | int(-1)
"0x1f" | int(0, 16)
"ff" | int(base=16)
" 12 " | int
3.99 | int
-3.99 | int
true | int
none | int
"1_000" | int
"3.5" | float
"x" | float
"x" | float(1.5)
3 | float
"1e3" | float
-5 | abs
-2.5 | abs
2.5 | round
3.5 | round
2.567 | round(2)
2.567 | round(1, "floor")
2.1 | round(method="ceil")
1234.5 | round(-2)
42 | round
25 | round(-1)
35 | round(-1)
42.55 | round | int
1 | string
[1, "a"] | string
none | string
1.0 | string
html | e
html | escape | escape
html | forceescape
html | safe
html | safe + "<i>"
"<i>" + (html | safe)
html | safe ~ "<i>"
("<b>" | safe) * 2
"%s" | safe | format("<x>")
"<b>hi</b>  <i>x</i>\n &amp; y" | striptags
"a b/c?d=é&" | urlencode
{"a b": "c&d", "e": 1} | urlencode
{"class": "x", "id": none, "t": "<"} | xmlattr
"foo bar baz qux" | truncate(9)
"foo bar baz qux" | truncate(9, true)
"foo bar baz qux" | truncate(11)
"foo bar baz qux" | truncate(11, false, "...", 0)
"foo bar, baz-qux it's" | wordcount
"a\nb\n\nc" | indent
"a\nb\n\nc" | indent(2, true)
"a\nb\n\nc" | indent(2, blank=true)
"a\nb" | indent("> ")
"a\nb\n" | indent(1)
1 | filesizeformat
999 | filesizeformat
1000 | filesizeformat
1234567 | filesizeformat
1234567 | filesizeformat(true)
d | tojson
rows | tojson
nest | tojson(indent=2)
[] | tojson(indent=4)
{} | tojson(indent=4)
[[], {}] | tojson(indent=1)
u | tojson
u | tojson(ensure_ascii=true)
html | tojson
"\u0001\u001f\u007f\u2028/\\\"\n\t\b\f\r" | tojson
[1, 1.0, 1e100, true, none, "x"] | tojson
(1, 2) | tojson
d | tojson(separators=(",", ":"))
d | tojson(sort_keys=true)
{1: 2, none: 3, true: 4, 1.5: 5} | tojson
d | tojson(indent="\t")
d | tojson(indent=0)
'{"a": [1, 2.5, "x", null, true]}' | from_json
('[1, {"b": 2}]' | from_json)[1].b
strftime_now("%Y-%m-%d")
strftime_now("%d %b %Y")
strftime_now("%B %d, %Y")
strftime_now("%A %a %H:%M:%S %I %p %j %y %%")
strftime_now("%e|%U|%W|%V|%G|%u|%w|%D|%F|%T|%R|%C")
namespace(a=1).a
namespace({"b": 2}).b
namespace(a=1).zzz is defined
s | attr("upper")() if false else "skip"
d | attr("a") is defined
rows | map(attribute="name") | first
rows | map("attr", "name") | first is defined
xs.0
rows.0.name
[1, 2, 3].1
"abc".upper().lower() | upper | length
(1, 2)
1, 2
[x, y] if false else "lazy"
{"a": {"b": 1}}.a.b
{"a b": 1}["a b"]
(none or {}).x
[1, [2, [3]]] | string
("a", ("b",)) | string
[("a", 1), {"k": ("v",)}]
1 is defined and missing is not defined
xs | length > 2
xs | length == 3 and "big" or "small"
-1 | abs
(-1) | abs
2 * 3 | string
"a" ~ "b" | upper
not "x" | length
1 + 1 | string | length
"x" is string and "y"
n is odd == true
"abc" | list | join("-") | upper
[3, 1] | sort | first
(xs | sort)[0]
[nil, nil] | select("none") | list | length
joiner("|") is defined
cycler(1, 2).next()
"é" < "z"
"a" * 0
[] * 5
"x" * -1
true + true
true * 3
1.0 == 1
1e400
-1e400
"inf" | float
0.1 + 0.7
1e5 | int
2 ** 0.5
10 % 3.5
7 // 2.0
1 // 1
(2, 1) | sort
"b,a" | list | sort | join
{"x": [1, 2]}.x | sum
messages | map(attribute="role") | unique | join("/")
messages | selectattr("role", "equalto", "user") | map(attribute="content") | join(" ")
messages | rejectattr("role", "in", ["user"]) | list | length
(messages | last).content
(messages | first).role
"\u00a0 x \u3000" | trim
"a\u2028b\x0bc".splitlines()
"İ" | lower | length
"ΑΣ ΣΑΣ." | lower
"ﬀ".upper()
"ß".capitalize()
[1, 2, 3] | reverse | first
"a-b_c" | replace("-", "_") | replace("_", " ") | title
"%s" % missing
"x" if missing else "y"
[missing] | length
[missing]
missing is iterable
missing in "abc" if false else "skip"
1 in [missing]
xs | map("string") | join(",")
"a" in ["a", "b"] and "c" not in ["a", "b"]
"{}" | format
"100%" ~ ""
"%d%%" % 50
"{0}{0}".format("ab")
"{a.b}".format(a={"b": 1}) if false else "skip"
"abc" | reverse
("a" ~ none) | length
["x"] | tojson | length
[1, 2] | tojson | string | length
"  \n" | trim | length
"a  b" | replace("  ", " ")
loop is defined
"x".join([]) ~ "|"
"x".join(["a"])
d.keys() | sort
d.values() | sum
d.values() | list | sort
d.items() | map("first") | list
d | length
"a" in d.keys()
2 in d.values()
("a", 2) in d.items()
{"b": 1} == {"b": true}
[1, 2, 3][1:][0]
"abc"[1:][:1]
"abc"[5:] ~ "|"
"abc"[2:1] ~ "|"
"abc"[-2:] ~ "abc"[:-2]
xs[n]
xs["0"]
s["upper"]()
"a" "b" ~ "c"
""" + '"""' + r"""
"""

# whole templates
TEMPLATES = [
    # white space
    "a\n{% if t %}\nb\n{% endif %}\nc\n", "a\n  {% if t %}\n  b\n  {% endif %}\nc", "a\n  {%+ if t %}\nb{% endif +%}\nc",
    "a {%- if t -%} b {%- endif -%} c", "a\n\n{%- if t %}\n\nb\n\n{%- endif %}\n\nc", "  {{ n }}  \n  {{- n -}}  \n x",
    "a {# gone #} b", "a\n  {# gone #}\nb", "a\n  {#- gone -#}\n  b", "{# a\nb #}\nc", "x{#+ c #}\ny", "x {#- c +#}\ny", "{#-#}x",
    "{% raw %}{{ x }} {% if %}{% endraw %}", "a\n{% raw %}\n  b {{\n{% endraw %}\nc", "a {%- raw -%} \n b \n {%- endraw -%} c",
    "line\r\nother\rthird\n{{ n }}\r\n", "\n", "", "\n\n", "x\n\n", "{{ n }}\n", "{{ n }}\n\n", "{% set a = 1 %}\n", "{% set a = 1 %}x\n{{ a }}\n",
    "  {% set a = 1 %}  \n{{ a }}", "x  {% set a = 1 %}\ny", "{{ n }}{% if t %}\n{% endif %}\n", "\t{% if t %}\tx{% endif %}\t\n",
    "{{ '{{' }} {{ '%}' }} {{ \"}}\" }}", "{{ {'a': {'b': 1}} }}", "{{ {'a': {'b': 1}}['a']['b']}}", "{ { }} {% if t %}}{% endif %}", "a {{n}}{{n}} b",
    "{%if t%}x{%endif%}", "{%- if t -%}\n  x\n{%- endif -%}\n", "{%\nif\nt\n%}x{% endif %}", "a\u00a0{%- if t %}b{% endif %}", "  \n  {%- if t %} x{% endif %}",
    "{% if t %}\n    {{- 'x' }}\n{% endif %}y", "{% for x in xs %}\n{{ x }}\n{% endfor %}\nend", "{% for x in xs -%}\n  {{ x }}\n{%- endfor %}\n end",
    # if
    "{% if no %}a{% elif nil %}b{% elif t %}c{% else %}d{% endif %}", "{% if e %}a{% elif 0 %}b{% else %}d{% endif %}", "{% if xs %}y{% endif %}{% if [] %}n{% endif %}{% if {} %}n{% endif %}",
    "{% if not missing %}u{% endif %}", "{% if t %}{% if no %}a{% else %}b{% endif %}{% endif %}", "{% if n > 5 and s == 'Hello World' or no %}ok{% endif %}", "{% if 1, 0 %}tuple{% endif %}",
    # for
    "{% for x in xs %}{{ x }},{% endfor %}", "{% for x in [] %}{{ x }}{% else %}empty{% endfor %}", "{% for x in xs %}{{ x }}{% else %}empty{% endfor %}",
    "{% for x in missing %}{{ x }}{% else %}undefined is empty{% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k, v in d | items %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in d %}{{ k }}{% endfor %}", "{% for c in u %}[{{ c }}]{% endfor %}", "{% for a, (b, c) in [(1, (2, 3)), (4, (5, 6))] %}{{ a + b + c }} {% endfor %}", "{% for x in 1, 2, 3 %}{{ x }}{% endfor %}",
    "{% for x in xs if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }} {% endfor %}", "{% for x in xs if x > 9 %}{{ x }}{% else %}none{% endfor %}", "{% for x in range(3) %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}",
    "{% for x in xs %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}", "{% for x in xs %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}", "{% for x in range(5) %}{{ loop.cycle('a', 'b', 'c') }}{% endfor %}",
    "{% for x in [1, 1, 2, 2, 1] %}{% if loop.changed(x) %}{{ x }}{% endif %}{% endfor %}", "{% for r in rows %}{{ loop.changed(r.age, r.city) }}{% endfor %}", "{% for x in range(9) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in xs %}{% for y in xs %}{% if y == 1 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}|{% endfor %}", "{% for x in xs %}{% for y in ws %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}", "{% for x in xs %}{% set outer = loop %}{% for y in ws %}{{ outer.index }}.{{ loop.index }} {% endfor %}{% endfor %}",
    "{% for n in tree recursive %}{{ n.v }}@{{ loop.depth }}{{ loop.depth0 }}[{{ loop(n.c) if n.c }}]{% endfor %}", "{% for n in tree recursive %}{{ n.v }}{% if n.c %}({{ loop(n.c) }}){% else %}.{% endif %}{% endfor %}", "{% for x in xs %}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% for x in xs | map('string') %}{{ loop.length }}{{ x }}{% endfor %}", "{% for x in xs | select('odd') %}{{ loop.last }}{{ x }}{% endfor %}", "{{ loop }}{% for x in xs %}{{ loop }}{% endfor %}", "{% for x in xs %}{{ x }}{% endfor %}{{ x }}", "{% for loop_var in xs %}{{ loop_var }}{% endfor %}",
    # scopes
    "{% set x = 1 %}{% for i in xs %}{% set x = i %}{{ x }}{% endfor %}{{ x }}", "{% set x = 1 %}{% if t %}{% set x = 2 %}{% endif %}{{ x }}", "{% for i in xs %}{{ x }}{% set x = i %}{{ x }};{% endfor %}", "{% set ns = namespace(c=0) %}{% for i in xs %}{% set ns.c = ns.c + i %}{% endfor %}{{ ns.c }}",
    "{% set ns = namespace() %}{% set ns.a = 1 %}{% set ns.b = ns.a + 1 %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}", "{% set ns = namespace(l=[]) %}{% for i in xs %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.l }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set (a, b), c = (1, 2), 3 %}{{ a }}{{ b }}{{ c }}", "{% set a = 1, 2 %}{{ a }}",
    "{% set x %}block {{ n }}\n{% endset %}[{{ x }}]", "{% set x | upper | trim %} block {{ n }} {% endset %}[{{ x }}]", "{% set x %}{% set y = 5 %}{{ y }}{% endset %}{{ x }}{{ y is defined }}", "{% set n = n + 1 %}{{ n }}{% set n = n * 2 %}{{ n }}", "{% set messages = messages[1:] %}{{ messages | length }}",
    "{% with a = 1, b = n %}{{ a }}{{ b }}{% set a = 9 %}{{ a }}{% endwith %}{{ a is defined }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q is defined }}", "{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% set true_ = 1 %}{{ true_ }}", "{% set x = none %}{{ x is none }}{{ x }}",
    "{% for i in [1, 2] %}{% if i == 2 %}{% set q = i %}{% endif %}{{ q }}|{% endfor %}", "{% for i in xs %}{% for j in xs %}{% set i = j %}{% endfor %}{{ i }}{% endfor %}", "{% if t %}{% for i in xs %}{% set z = i %}{% endfor %}{% endif %}{{ z }}",
    # macros
    "{% macro m(a, b=2) %}{{ a }}-{{ b }};{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(b=5, a=4) }}{{ m(1, b=9) }}", "{% macro m(a) %}[{{ a }}]{% endmacro %}{{ m() }}", "{% macro m(a, b=a) %}{{ b }}{% endmacro %}{{ m(7) }}", "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}", "{% macro m(a) %}{{ a }}{{ varargs | join('+') }}{% endmacro %}{{ m(1, 2, 3) }}",
    "{% macro m() %}{{ caller() }}!{% endmacro %}{% call m() %}hi {{ n }}{% endcall %}", "{% macro m(xs) %}{% for x in xs %}{{ caller(x) }},{% endfor %}{% endmacro %}{% call(y) m(xs) %}<{{ y }}>{% endcall %}", "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}", "{% macro m(x) %}{% if x > 0 %}{{ x }}{{ m(x - 1) }}{% endif %}{% endmacro %}{{ m(4) }}",
    "{% macro m() %}{{ g }}{% endmacro %}{% set g = 'late' %}{{ m() }}", "{% set g = 1 %}{% macro m() %}{% set g = 2 %}{{ g }}{% endmacro %}{{ m() }}{{ g }}", "{% macro m() %}{{ i }}{% endmacro %}{% for i in xs %}{{ m() }}{% endfor %}|", "{% for i in xs %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}", "{% macro a() %}A{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}",
    "{% macro m(a, b='x', c=none) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(*[1, 2]) }}{{ m(**{'a': 5, 'c': 6}) }}{{ m(1, *[8], c=9) }}", "{{ m is defined }}{% macro m() %}{% endmacro %}{{ m is defined }}{{ m.name }}{{ m.arguments }}", "{% macro m(x) %}{{ x }}{% endmacro %}{{ m('a') | upper }}{{ m('b') ~ m('c') }}", "{% macro m() %}\n  x\n{% endmacro %}[{{ m() }}]", "{% macro m(n) %}{{ n }}{% endmacro %}{{ m(1) }}{{ n }}",
    "{% macro m(d) %}{% for k, v in d.items() %}{{ k }}:{% if v is mapping %}({{ m(v) }}){% else %}{{ v }}{% endif %};{% endfor %}{% endmacro %}{{ m({'a': 1, 'b': {'c': 2}}) }}", "{{ caller is defined }}", "{% macro m() %}{{ m.catch_varargs }}{{ varargs | length }}{% endmacro %}{{ m() }}",
    # blocks of filters and others
    "{% filter upper %}abc {{ s }}{% endfilter %}", "{% filter replace('a', 'b') | upper %}aa{% endfilter %}", "{% filter indent(2) %}x\ny{% endfilter %}", "{% generation %}a {{ n }}{% endgeneration %}b", "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}", "{% generation %}{% set gg = 1 %}{% endgeneration %}{{ gg is defined }}",
    "{% print n, s %}", "a{% print %}b", "{% set j = joiner(', ') %}{% for x in xs %}{{ j() }}{{ x }}{% endfor %}", "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.reset() }}{{ c.next() }}", "{% set g = xs | map('string') %}{{ g | list }}{{ g | list }}", "{% set g = xs | select('odd') %}{{ g | first }}{{ g | list }}", "{% set r = xs | reverse %}{{ r | list }}{{ r | list }}", "{% set f = 'x %s y' %}{{ f % n }}{{ f | format(n) }}",
    "{{ (d | tojson | from_json) == d }}", "{% if 'upper' is filter %}{{ 'x' | upper }}{% endif %}", "{% if false %}{{ x | nosuchfilter }}{% endif %}fine", "{% if false %}{{ x is nosuchtest }}{% endif %}fine", "{{ 'a' if true else x | nosuch }}", "{{ '%s' % ('a',) }}{{ ('%s' % 'b') ~ 'c' }}", "{{ raise_exception is defined }}{{ strftime_now is defined }}{{ range is defined }}{{ nope is defined }}", "{{ namespace is callable }}", "{{ [1, 2, 3]\n   | join(\n  ',' ) }}", "{{ d\n['a'] }}", "{{- s -}} {{- s -}}", "{% set x = 'a' %}{% set x = x ~ 'b' %}{% set y = x %}{% set x = x ~ 'c' %}{% set z = y ~ 'd' %}{{ x }}{{ y }}{{ z }}", "{% set a = [1] %}{% set b = a + [2] %}{% set c = a + [3] %}{% set e2 = b + [4] %}{{ a }}{{ b }}{{ c }}{{ e2 }}",
    # ChatML and friends
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt is defined and add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}", "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}{{ m.content | trim + ' ' }}{% endfor %}",
]

# what must be refused
ERRORS = [
    "{{ missing.x }}", "{{ missing['x'] }}", "{{ missing() }}", "{{ missing + 1 }}", "{{ 1 + missing }}", "{{ missing < 1 }}", "{{ -missing }}", "{{ missing | int }}", "{{ d.nope.deeper }}", "{{ xs[9].x }}", "{{ nil.x.y }}", "{{ 'a' + 1 }}", "{{ 1 + 'a' }}", "{{ none + 1 }}", "{{ [1] + (2,) }}", "{{ 1 < 'a' }}",
    "{{ none < 1 }}", "{{ {} < {} }}", "{{ 1 / 0 }}", "{{ 1 // 0 }}", "{{ 1 % 0 }}", "{{ 1.0 / 0 }}", "{{ 5 | length }}", "{{ none | length }}", "{{ 5() }}", "{{ s() }}", "{{ none | list }}", "{{ 5 | join }}", "{% for x in 5 %}{% endfor %}", "{% for x in none %}{% endfor %}", "{% for a, b in [1] %}{% endfor %}",
    "{% for a, b in [[1, 2, 3]] %}{% endfor %}", "{% set a, b = 1 %}", "{% set a, b = [1] %}", "{{ 1 in 5 }}", "{{ 1 in 'abc' }}", "{{ xs.append(1) }}", "{{ d.update({}) }}", "{{ d.pop('a') }}", "{{ xs.sort() }}", "{{ s.__class__.__mro__ }}", "{{ s.nope() }}", "{% set d.x = 1 %}", "{% set xs.x = 1 %}", "{{ [1, 'a'] | sort }}",
    "{{ [{}] | unique | list }}", "{{ {[1]: 2} }}", "{{ range(10**9) }}", "{{ range(1, 2, 0) }}", "{{ xs | map('nosuch') | list }}", "{{ xs | select('nosuch') | list }}", "{{ xs | map | list }}", "{{ x | nosuch }}", "{{ x is nosuch }}", "{{ s | upper(1) }}", "{{ s | replace('a') }}", "{{ s | indent(nope=1) }}", "{{ s | join(1, 2, 3, 4) }}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(b=1) }}", "{% macro m() %}{% endmacro %}{% call m() %}{% endcall %}", "{% macro m(a) %}{{ a.x }}{% endmacro %}{{ m() }}", "{{ loop(1) }}", "{% for x in xs %}{{ loop([]) }}{% endfor %}", "{% for x in xs %}{{ loop.cycle() }}{% endfor %}", "{{ '%d' % 'a' }}",
    "{{ '%s %s' % 'a' }}", "{{ '%s' % (1, 2) }}", "{{ '%q' % 1 }}", "{{ '%(a)s' % 1 }}", "{{ '{}'.format() }}", "{{ '{x}'.format() }}", "{{ '{'.format() }}", "{{ '{:d}'.format('a') }}", "{{ 'abc'.index('z') }}", "{{ 'a'.split('') }}", "{{ ','.join([1]) }}", "{{ 'a'.center() }}", "{{ xs | tojson(nope=1) }}",
    "{{ (xs | map('string')) | tojson }}", "{{ missing | tojson }}", "{{ d.items() | tojson }}", "{{ range(3) | tojson }}", "{{ (xs | map('string')) | length }}", "{{ (xs | map('string')) | last }}", "{{ 'x' | from_json }}", "{{ xs[::0] }}", "{{ n[1:] }}", "{{ d[:1] }}", "{{ nil[1:] }}", "{{ (xs | select)[1:] }}", "{{ s['a':] }}", "{{ 2 ** 0.5 ** 'a' }}", "{{ 'a' * 'b' }}", "{{ 'a' * 1.5 }}", "{{ -'a' }}", "{{ 5 | round('x') }}", "{{ 'x' | round }}", "{{ 5 | round(1, 'nope') }}", "{{ d | dictsort(by='nope') }}", "{{ xs | dictsort }}", "{{ 5 | items | list }}", "{{ 1 ~ 2 + 3 }}", "{{ missing.sub | default('x') }}", "{{ xs | sum(start='a') }}", "{{ ws | sum }}",
    "{{ raise_exception('my own words: é') }}", "{% if messages[0].role != 'system' %}{{ raise_exception('System role not supported') }}{% endif %}",
    # syntax
    "{{", "{{ }}", "{% if %}", "{% if t %}", "{% endif %}", "{% for x in xs %}", "{% for x xs %}{% endfor %}", "{% nosuchtag %}", "{{ 1 + }}", "{{ (1 }}", "{{ [1, 2 }}", "{{ {'a' 1} }}", "{{ 'abc }}", "{{ a b }}", "{{ 1 2 }}", "{# open", "{% raw %} open", "{% set %}", "{% set 1 = 2 %}", "{% set x %}open", "{% macro %}{% endmacro %}", "{% macro m(a=1, b) %}{% endmacro %}", "{% endfor %}", "{% else %}", "{% if t %}{% endfor %}", "{% break %}", "{{ a.'b' }}", "{{ a | }}", "{{ a is }}",
    "{{ f(a=1, 2) }}", "{{ f(**a, *b) }}", "{{ ) }}", "{{ (] }}", "{{ a ? b }}", "{{ 1 if }}", "{{ \"\\u12\" }}", "{% call 5 %}{% endcall %}", "{% filter %}{% endfilter %}", "{% with a %}{% endwith %}", "{% if t %}{{ x | nosuch }}{% endif %}", "{{ a is b is c }}", "{% for true in xs %}{% endfor %}", "{{ not }}", "{% if t %}a{% else %}b{% else %}c{% endif %}", "{{ a[ }}", "{{ a[] }}", "{{ 5.. }}", "{{ x, }}{{ , }}",
]


def case(env, template):
    out = {"template": template}
    try:
        out["output"] = env.from_string(template).render(**CONTEXT)
        out["output"].encode()
    except Refused as e:
        out["error"], out["words"] = "Refused", str(e)
    except Exception as e:
        out["error"] = type(e).__name__
    return out


def main():
    env = environment()
    expressions = [e for e in EXPRESSIONS.replace("\\\n", "\x00").split("\n") if e.strip() and e != '"""']
    templates = ["{{ %s }}" % e.replace("\x00", "\\\n") for e in expressions] + TEMPLATES
    cases = [case(env, t) for t in templates]
    for c in cases:
        if "error" in c and c["error"] != "Refused":
            print(f"meant to work: {c}", file=sys.stderr)
    refused = [case(env, t) for t in ERRORS]
    for c in refused:
        if "error" not in c:
            print(f"meant to fail: {c}", file=sys.stderr)
    with sys.stdout as f:
        f.write('{"context": %s,\n"cases": [\n' % json.dumps(CONTEXT, ensure_ascii=False))
        f.write(",\n".join(json.dumps(c, ensure_ascii=False) for c in cases + refused))
        f.write("\n]}\n")


if __name__ == "__main__":
    main()
