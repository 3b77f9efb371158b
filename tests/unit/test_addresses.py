"""Which addresses are called for a caller."""

import pytest

from app.domain.addresses import complaint_about, complaint_about_host

NEVER = [
    "169.254.169.254", "fe80::1", "fe80::1%eth0", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "100.100.100.200",
    "fd00:ec2::254", "::ffff:169.254.169.254", "2002:a9fe:a9fe::", "64:ff9b::a9fe:a9fe",
]  # fmt: skip
INNER = [
    "127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.1.1", "::1", "fd12::1", "100.64.0.1", "192.0.2.1",
    "255.255.255.255", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::a00:1", "64:ff9b::7f00:1",
]  # fmt: skip
OUTER = ["8.8.8.8", "2606:4700::1111", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::5db8:d822"]
SETTING = "ALLOW_PRIVATE"


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("allowed", [True, False])
def test_some_are_never_called(address: str, allowed: bool) -> None:
    assert "never called" in str(complaint_about(address, allowed, SETTING))


@pytest.mark.parametrize("address", INNER)
def test_inner_ones_are_a_matter_of_policy(address: str) -> None:
    assert complaint_about(address, True, SETTING) is None
    assert "ALLOW_PRIVATE=false" in str(complaint_about(address, False, SETTING))


@pytest.mark.parametrize("address", OUTER)
def test_all_others_are_open(address: str) -> None:
    assert complaint_about(address, False, SETTING) is None


@pytest.mark.parametrize(
    "host", ["localhost", "db.internal", "printer.local", "a.localhost", "10.0.0.1", "::1", "2130706433", "127.1"]
)
def test_a_name_that_says_that_it_is_an_inner_one_is_taken_at_its_word(host: str) -> None:
    assert complaint_about_host(host, True, SETTING) is None
    assert complaint_about_host(host, False, SETTING)


def test_other_names_are_judged_when_they_are_called() -> None:
    assert complaint_about_host("models.example.com", False, SETTING) is None
