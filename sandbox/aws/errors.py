"""The one exception of the emulator."""

from __future__ import annotations

from typing import Any

__all__ = ["AwsError"]


class AwsError(Exception):
    """An error answer of an AWS service: `code` as boto3 shows it, a message, the HTTP status.

    `fields` are further members of the error's shape (EKS errors name the cluster, the node group and
    so on). The status of a modelled error is taken from the service model instead.
    """

    def __init__(self, code: str, message: str, status: int = 400, **fields: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.fields = fields
