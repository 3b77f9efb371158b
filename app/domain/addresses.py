"""Which addresses may be called for a caller: inner ones by policy, those of a cloud's own services never."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address

_METADATA = tuple(map(ip_network, ("100.100.100.200/32", "fd00:ec2::254/128", "fd20:ce::254/128")))
_LOCAL_NAMES = (".localhost", ".internal", ".local")


def complaint_about(address: str, private_allowed: bool) -> str | None:
    """Why this address (digits, no name) may not be called; None where it may."""
    found = _plain(ip_address(address.partition("%")[0]))
    if found.is_link_local or found.is_multicast or found.is_unspecified or any(found in net for net in _METADATA):
        return "it leads to a link-local or reserved address, which is never called"
    if not private_allowed and not found.is_global:
        return "it leads to an inner address, which LLM_ALLOW_PRIVATE=false forbids"
    return None


def complaint_about_host(host: str, private_allowed: bool) -> str | None:
    """The same for a host as an address names it, as far as can be told without looking a name up."""
    try:
        return complaint_about(host, private_allowed)
    except ValueError:
        inner = host == "localhost" or host.endswith(_LOCAL_NAMES)
        return complaint_about("127.0.0.1", private_allowed) if inner else None


def _plain(found: Address) -> Address:
    """An IPv4 address that is written as an IPv6 one is judged as what it is."""
    mapped = found.ipv4_mapped or found.sixtofour if isinstance(found, IPv6Address) else None
    return mapped or found
