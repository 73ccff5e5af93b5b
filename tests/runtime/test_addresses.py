"""Where an address is: a table of what is written in configurations, and what it comes to."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm.runtime import clouds
from edgevlm.runtime.addresses import (
    Address,
    network_of,
    numeric_address,
    place_of,
    plain_host,
)

LISTED = (network_of("2001:db8:1::/64"), network_of("203.0.113.9"), network_of("100.100.0.0/16"))

ADDRESSES = [
    # this box
    ("127.0.0.1", "none", "this box"),
    ("127.255.255.254", "none", "this box"),
    ("::1", "none", "this box"),
    ("0.0.0.0", "none", "this box"),
    ("::", "none", "this box"),
    ("::ffff:127.0.0.1", "none", "this box"),
    ("::ffff:0:127.0.0.1", "none", "this box"),
    # RFC 1918, to the bit
    ("10.0.0.0", "lan", "private"),
    ("10.255.255.255", "lan", "private"),
    ("9.255.255.255", "internet", "public"),
    ("11.0.0.0", "internet", "public"),
    ("172.16.0.0", "lan", "private"),
    ("172.31.255.255", "lan", "private"),
    ("172.15.255.255", "internet", "public"),
    ("172.32.0.0", "internet", "public"),
    ("192.168.0.1", "lan", "private"),
    ("192.167.255.255", "internet", "public"),
    ("192.169.0.0", "internet", "public"),
    # other near ones
    ("169.254.1.1", "lan", "link-local"),
    ("169.255.0.0", "internet", "public"),
    ("100.64.0.0", "lan", "CGNAT"),
    ("100.127.255.255", "lan", "CGNAT"),
    ("100.63.255.255", "internet", "public"),
    ("100.128.0.0", "internet", "public"),
    ("224.0.0.251", "lan", "multicast"),
    ("239.255.255.250", "lan", "multicast"),
    ("240.0.0.1", "internet", "public"),
    ("255.255.255.255", "lan", "broadcast"),
    ("fc00::1", "lan", "private"),
    ("fdff::1", "lan", "private"),
    ("fe00::1", "internet", "public"),
    ("fe80::1", "lan", "link-local"),
    ("fe80::1%eth0", "lan", "link-local"),
    ("fec0::1", "lan", "private"),
    ("ff02::fb", "lan", "multicast"),
    # far ones
    ("8.8.8.8", "internet", "public"),
    ("1.1.1.1", "internet", "public"),
    ("0.1.2.3", "internet", "public"),
    ("192.0.2.1", "internet", "public"),
    ("198.18.0.1", "internet", "public"),
    ("203.0.113.8", "internet", "public"),
    ("2606:4700::1111", "internet", "public"),
    ("2001:db8:2::1", "internet", "public"),
    ("2001::1", "internet", "public"),  # Teredo
    ("::10.0.0.1", "internet", "public"),  # "compatible", which no system translates
    # listed
    ("2001:db8:1::7", "lan", "listed"),
    ("203.0.113.9", "lan", "listed"),
    ("::ffff:203.0.113.9", "lan", "listed"),
    # addresses in addresses
    ("::ffff:10.0.0.1", "lan", "private"),
    ("::ffff:8.8.8.8", "internet", "public"),
    ("::ffff:0:8.8.8.8", "internet", "public"),
    ("64:ff9b::10.0.0.1", "lan", "private"),
    ("64:ff9b::8.8.8.8", "internet", "public"),
    ("64:ff9b::127.0.0.1", "none", "this box"),
    ("64:ff9b:1::10.0.0.1", "lan", "private"),
    ("64:ff9b:1::8.8.8.8", "internet", "public"),
    ("64:ff9b:1:808:8:800::", "internet", "public"),
    ("64:ff9b:1:a00:0:100::", "lan", "private"),
    ("2002:a00:1::", "lan", "private"),
    ("2002:808:808::", "internet", "public"),
    ("2002:7f00:1::", "none", "this box"),
    # where clouds hand out credentials, also when the network is listed
    ("169.254.169.254", "lan", "metadata"),
    ("169.254.170.2", "lan", "metadata"),
    ("100.100.100.200", "lan", "metadata"),
    ("168.63.129.16", "lan", "metadata"),
    ("fd00:ec2::254", "lan", "metadata"),
    ("::ffff:169.254.169.254", "lan", "metadata"),
    ("64:ff9b::169.254.169.254", "lan", "metadata"),
    ("64:ff9b:1:a9fe:a9:fe00::", "lan", "metadata"),
    ("2002:a9fe:a9fe::", "lan", "metadata"),
]


@pytest.mark.parametrize(("text", "reach", "kind"), ADDRESSES)
def test_an_address_has_one_place(text: str, reach: str, kind: str) -> None:
    place = place_of(ipaddress.ip_address(text), LISTED)
    assert (place.reach, place.kind) == (reach, kind)


NUMBERS = [
    ("2130706433", "127.0.0.1"),
    ("0x7f000001", "127.0.0.1"),
    ("0x7f.1", "127.0.0.1"),
    ("017700000001", "127.0.0.1"),
    ("0177.0.0.1", "127.0.0.1"),
    ("127.1", "127.0.0.1"),
    ("0", "0.0.0.0"),
    ("134744072", "8.8.8.8"),
    ("0x08080808", "8.8.8.8"),
    ("010.8.8.8", "8.8.8.8"),  # octal: not 10.8.8.8
    ("10.1", "10.0.0.1"),
    ("2852039166", "169.254.169.254"),
    ("0xA9FEA9FE", "169.254.169.254"),
    ("127.0.0.1.", "127.0.0.1"),
    ("[::1]", "::1"),
    ("[::ffff:8.8.8.8]", "::ffff:808:808"),
    ("１２７.０.０.１", "127.0.0.1"),  # noqa: RUF001  # full-width digits are the point
    ("127。0。0。1", "127.0.0.1"),  # ideographic full stops
    ("4294967296", None),
    ("1.2.3.4.5", None),
    ("08.8.8.8", None),
    ("256.1.1.1", None),
    ("localhost", None),
    ("10.0.0.5.example.com", None),
    ("1e3", None),
]


@pytest.mark.parametrize(("host", "address"), NUMBERS)
def test_a_host_written_as_a_number_is_read_as_the_resolver_reads_it(host: str, address: str | None) -> None:
    found = numeric_address(plain_host(host))
    assert found == (ipaddress.ip_address(address) if address else None)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("API.OpenAI.com", "api.openai.com"),
        ("api.openai.com.", "api.openai.com"),
        ("ａｐｉ.openai.com", "api.openai.com"),  # noqa: RUF001  # full-width letters are the point
        ("ⓛocalhost", "localhost"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("camera_1", "camera_1"),
        ("[fe80::1%eth0]", "fe80::1%eth0"),
    ],
)
def test_a_name_has_one_form(host: str, name: str) -> None:
    assert plain_host(host) == name


@pytest.mark.parametrize(
    "host",
    ["", ".", "a..b", "user@host", "a/b", "a b", "a\\b", "a#b", "a?b", "%31", "x" * 64 + ".com", "a\nb", "["],
)
def test_what_is_no_name_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="not a host name"):
        plain_host(host)


@pytest.mark.parametrize(
    ("name", "operator"),
    [
        ("api.moonshot.cn", "Moonshot AI, China"),
        ("dashscope-intl.aliyuncs.com", "Alibaba Cloud, Singapore"),
        ("ws1.cn-beijing.maas.aliyuncs.com", "Alibaba Cloud, country unknown"),
        ("openrouter.ai", "OpenRouter, and the provider that it chooses, country unknown"),
        ("api.openai.com", "OpenAI, United States"),
        ("generativelanguage.googleapis.com", "Google, country unknown"),
        ("detect.roboflow.com", "Roboflow, United States"),
        ("api.anthropic.com", "Anthropic, United States"),
        ("bucket.s3.eu-central-1.amazonaws.com", "Amazon Web Services, country unknown"),
        ("notopenai.com", None),
        ("openai.com.attacker.example", None),
        ("com", None),
        ("localhost", None),
    ],
)
def test_hosted_services_are_known_by_name(name: str, operator: str | None) -> None:
    found = clouds.operator_of(name)
    assert (str(found) if found else None) == operator


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("203.0.113.9", "203.0.113.9/32"),
        (" 2001:db8::/32 ", "2001:db8::/32"),
    ],
)
def test_networks_of_the_site(text: str, network: str) -> None:
    assert str(network_of(text)) == network


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("camera.lan", "not a name"),
        ("10.0.0.5/8", "first address: 10.0.0.0/8"),
        ("0.0.0.0/0", "half the internet"),
        ("128.0.0.0/1", "half the internet"),
        ("::/0", "half the internet"),
        ("2000::/3", "half the internet"),
        ("", "must be a network"),
        ("10.0.0.0/33", "must be a network"),
    ],
)
def test_what_is_no_network_of_a_site_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        network_of(text)


@given(st.ip_addresses(v=4))
def test_carrying_an_address_changes_nothing(inner: Address) -> None:
    """Whatever carries an IPv4 address is as far as the address itself."""
    plain = place_of(inner)
    for prefix in ("::ffff:0:0", "64:ff9b::", "::ffff:0:0:0"):
        carrier = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(inner))
        assert place_of(carrier) == plain
    assert place_of(ipaddress.IPv6Address(0x2002 << 112 | int(inner) << 80)) == plain


@given(st.text(max_size=40))
def test_any_text_is_a_name_a_number_or_refused(text: str) -> None:
    try:
        name = plain_host(text)
    except ValueError:
        return
    address = numeric_address(name)
    assert address is None or place_of(address).reach in {"none", "lan", "internet"}
