# Calls the builtins a policy may use and compares each answer with what OPA documents. `mistakes` is empty when all agree.

package caracal.authz

result := {
	"decision": "allow",
	"evaluation_status": "complete",
	"determining_policies": [],
	"diagnostics": [name | some name in mistakes],
}

mistakes contains name if {
	some name in object.keys(expected)
	not expected[name] == true
}

expected["base64url.encode_no_pad"] := base64url.encode_no_pad("a?") == "YT8"

expected["crypto.hmac.sha256"] := count(crypto.hmac.sha256("a", "b")) == 64

expected["crypto.hmac.sha512"] := count(crypto.hmac.sha512("a", "b")) == 128

expected["crypto.hmac.sha1"] := count(crypto.hmac.sha1("a", "b")) == 40

expected["crypto.hmac.md5"] := count(crypto.hmac.md5("a", "b")) == 32

expected["crypto.md5"] := crypto.md5("a") == "0cc175b9c0f1b6a831c399e269772661"

expected["crypto.sha1"] := crypto.sha1("a") == "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"

expected["crypto.sha256"] := crypto.sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

expected["hex"] := hex.decode(hex.encode("a")) == "a"

expected["semver.compare"] := semver.compare("1.2.0", "1.10.0") == -1

expected["semver.is_valid"] := semver.is_valid("1.2.0")

expected["sprintf"] := sprintf("%s is %d", ["x", 3]) == "x is 3"

expected["time.parse_rfc3339_ns"] := time.parse_rfc3339_ns("1970-01-01T00:00:01Z") == 1000000000

expected["time.date"] := time.date(0) == [1970, 1, 1]

expected["time.clock"] := time.clock(1000000000) == [0, 0, 1]

expected["time.weekday"] := time.weekday(0) == "Thursday"

expected["time.add_date"] := time.add_date(0, 0, 0, 1) == 86400000000000

expected["time.parse_duration_ns"] := time.parse_duration_ns("1s") == 1000000000

expected["units.parse_bytes"] := units.parse_bytes("1KiB") == 1024

expected["units.parse"] := units.parse("2K") == 2000

expected["urlquery.encode"] := urlquery.encode("a b") == "a+b"

expected["urlquery.decode"] := urlquery.decode("a%20b") == "a b"

expected["urlquery.encode_object"] := urlquery.encode_object({"a": "b"}) == "a=b"

expected["urlquery.decode_object"] := urlquery.decode_object("a=b") == {"a": ["b"]}

expected["sort"] := sort(input.list) == [1, 2, 3]

expected["split"] := split(input.text, ",") == ["a", "b"]

expected["glob.match"] := glob.match("a/*", ["/"], "a/b")

expected["regex.match"] := regex.match("^a+$", "aaa")

expected["net.cidr_contains"] := net.cidr_contains("10.0.0.0/8", "10.1.2.3")

expected["object.union"] := object.union({"a": 1}, {"b": 2}) == {"a": 1, "b": 2}

expected["object.union_n"] := object.union_n([{"a": 1}, {"b": 2}]) == {"a": 1, "b": 2}

expected["walk"] := count([1 | walk({"a": {"b": 1}})]) == 3


expected["graph.reachable"] := graph.reachable({"a": {"b"}, "b": set()}, {"a"}) == {"a", "b"}

expected["numbers.range"] := numbers.range(1, 3) == [1, 2, 3]

expected["strings.reverse"] := strings.reverse("ab") == "ba"

expected["array.flatten"] := array.flatten([[1], 2]) == [1, 2]

expected["bits.and"] := bits.and(6, 3) == 2

expected["to_number"] := to_number("3") == 3

expected["format_int"] := format_int(255, 16) == "ff"
