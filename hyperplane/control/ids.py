"""The names that AWS gives to things: ids, ARNs, service names. Forms only; who holds them is elsewhere.

| thing | form | source |
|---|---|---|
| most EC2 things | prefix, dash, 17 hex digits: `vpce-0123456789abcdef0` | Amazon EC2 guide, "Resource IDs" |
| endpoint service | `vpce-svc-` and 17 hex digits | AWS PrivateLink guide |
| service name | `com.amazonaws.vpce.<region>.<service id>` | the same |
| load balancer | `net/<name>/<16 hex>`, the tail of its ARN | Elastic Load Balancing guide |
| target group | `targetgroup/<name>/<16 hex>`, the tail of its ARN | the same |

CloudWatch names load balancers and target groups by those tails, and so do we.

An id that nobody chose is derived from the names of what it stands for (SHA-256), so that a lab has
the same ids each time it is built, on every machine, and flows and numbers survive a rebuild.
"""

import re
from enum import Enum
from hashlib import sha256

EC2_HEX_DIGITS = 17
ELB_HEX_DIGITS = 16
ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)


class Prefix(Enum):
    """What an EC2 id begins with."""

    VPC = "vpc"
    SUBNET = "subnet"
    SECURITY_GROUP = "sg"
    INSTANCE = "i"
    INTERFACE = "eni"
    ENDPOINT = "vpce"
    ENDPOINT_SERVICE = "vpce-svc"


def _digits(count: int, names: tuple[str, ...]) -> str:
    return sha256("\0".join(names).encode()).hexdigest()[:count]


def ec2_id(prefix: Prefix, *names: str) -> str:
    """The same names always give the same id; two lists of names share one with a chance of 1 in 2^68."""
    assert names, "an id stands for something that has a name"
    return f"{prefix.value}-{_digits(EC2_HEX_DIGITS, (prefix.value, *names))}"


def is_ec2_id(prefix: Prefix, text: str) -> bool:
    """Whether a text has the form; not whether anything of that id exists."""
    return re.fullmatch(rf"{prefix.value}-[0-9a-f]{{{EC2_HEX_DIGITS}}}", text, re.ASCII) is not None


def load_balancer_id(region: str, account_id: str, name: str) -> str:
    """As in CloudWatch's dimension LoadBalancer: `net/orders/0123456789abcdef`."""
    return f"net/{name}/{_digits(ELB_HEX_DIGITS, ('net', region, account_id, name))}"


def target_group_id(region: str, account_id: str, name: str) -> str:
    """As in CloudWatch's dimension TargetGroup: `targetgroup/orders/0123456789abcdef`."""
    return f"targetgroup/{name}/{_digits(ELB_HEX_DIGITS, ('targetgroup', region, account_id, name))}"


def load_balancer_arn(region: str, account_id: str, load_balancer: str) -> str:
    """`load_balancer` is the id, as `load_balancer_id` gives it."""
    return f"arn:aws:elasticloadbalancing:{region}:{account_id}:loadbalancer/{load_balancer}"


def target_group_arn(region: str, account_id: str, target_group: str) -> str:
    """`target_group` is the id, as `target_group_id` gives it."""
    return f"arn:aws:elasticloadbalancing:{region}:{account_id}:{target_group}"


def listener_arn(region: str, account_id: str, load_balancer: str, protocol: str, port: int) -> str:
    """A listener's own 16 digits are derived from its protocol and port: there is one of each."""
    digits = _digits(ELB_HEX_DIGITS, ("listener", region, account_id, load_balancer, protocol, str(port)))
    return f"arn:aws:elasticloadbalancing:{region}:{account_id}:listener/{load_balancer}/{digits}"


def endpoint_arn(region: str, account_id: str, endpoint_id: str) -> str:
    """AWS PrivateLink guide, "Resource types"."""
    return f"arn:aws:ec2:{region}:{account_id}:vpc-endpoint/{endpoint_id}"


def endpoint_service_arn(region: str, account_id: str, service_id: str) -> str:
    """AWS PrivateLink guide, "Resource types"."""
    return f"arn:aws:ec2:{region}:{account_id}:vpc-endpoint-service/{service_id}"


def service_name(region: str, service_id: str) -> str:
    """What a provider hands to its consumers."""
    return f"com.amazonaws.vpce.{region}.{service_id}"


def root_arn(account_id: str) -> str:
    """The principal that is a whole account."""
    return f"arn:aws:iam::{account_id}:root"
