"""Which addresses may be called for a caller: inner ones by policy, those of a cloud's own services never."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

_METADATA = tuple(map(ip_network, ("100.100.100.200/32", "fd00:ec2::254/128", "fd20:ce::254/128")))
_LOCAL_NAMES = (".localhost", ".internal", ".local")
_NAT64 = IPv6Network("64:ff9b::/96")


def complaint_about(address: str, private_allowed: bool, setting: str) -> str | None:
    """Why this address (digits, perhaps with a zone; no name) may not be called; None where it may. `setting` is the
    one that allows inner addresses.
    """
    found = _meant(ip_address(address.partition("%")[0]))
    if found.is_link_local or found.is_multicast or found.is_unspecified or any(found in net for net in _METADATA):
        return "it leads to a link-local or reserved address, which is never called"
    if not private_allowed and not found.is_global:
        return f"it leads to an inner address, which {setting}=false forbids"
    return None


def complaint_about_host(host: str, private_allowed: bool, setting: str) -> str | None:
    """The same for a host as a URL names it, as far as can be told without looking a name up."""
    try:
        return complaint_about(host, private_allowed, setting)
    except ValueError:
        # A host of digits alone is an address in another spelling, which resolvers understand.
        inner = host == "localhost" or host.endswith(_LOCAL_NAMES) or host.replace(".", "").isdecimal()
        return complaint_about("127.0.0.1", private_allowed, setting) if inner else None


def _meant(address: Address) -> Address:
    """The IPv4 address that lies in one of version 6, where one does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
