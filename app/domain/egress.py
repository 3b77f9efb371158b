"""Which addresses the outside world may have us call: public ones, however they are written. Pure."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether this IP address belongs to the internet at large; the text may carry an IPv6 zone."""
    try:
        found = _meant(ip_address(address.partition("%")[0]))
    except ValueError:
        return False
    return found.is_global and not found.is_multicast


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that lies in one of version 6, where one does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
