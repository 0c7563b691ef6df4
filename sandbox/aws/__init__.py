"""An AWS account that plain boto3 reaches through AWS_ENDPOINT_URL, as far as an EKS migration can tell.

Our own, and not moto, although moto's backends can be pickled (tried with 5.2.5): its Auto Scaling puts
every instance into the first subnet and knows no rebalancing, its EKS has no add-ons, access entries or
version updates and makes no instances, and its subnets do not lose addresses to pods; what would be left
of it is the wire format, which botocore's own service models give us for fewer lines (`protocol`), a
tenth of the memory and no import time. The state is one JSON document, so that saving is copying a file
that a person can read and a later version can load.

`state` holds the account, `registry` the handlers, `server` the endpoint; one file per group of calls.
"""

from __future__ import annotations

# Each registers its calls and what happens by itself.
from sandbox.aws import autoscaling, elbv2, iam, iam_oidc, identity, scaling, ssm  # noqa: F401
from sandbox.aws.ec2 import gateways, instances, interfaces, network, security, templates  # noqa: F401
from sandbox.aws.eks import (  # noqa: F401
    access,
    addons,
    clusters,
    fargate,
    nodegroup_life,
    nodegroups,
    pod_identity,
)
from sandbox.aws.errors import AwsError
from sandbox.aws.identity import ACCESS_KEY_ID, SECRET_ACCESS_KEY
from sandbox.aws.seeding import seed
from sandbox.aws.server import Endpoint
from sandbox.aws.settings import Settings
from sandbox.aws.state import ACCOUNT, Aws

__all__ = ["ACCESS_KEY_ID", "ACCOUNT", "SECRET_ACCESS_KEY", "Aws", "AwsError", "Endpoint", "Settings", "seed"]
