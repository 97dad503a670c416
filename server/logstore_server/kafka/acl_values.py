"""Access rules and filters between Kafka's messages and ours."""

from __future__ import annotations

from typing import Any

from logstore.api.access import (
    Acl,
    AclFilter,
    Operation,
    PatternType,
    Permission,
    ResourceType,
)
from logstore_server.kafka.admin import RefusedError
from logstore_server.kafka.context import Request
from logstore_server.kafka.errors import ErrorCode


def check_enabled(request: Request) -> None:
    """Rules that nobody obeys are not taken: Kafka says the same without an authorizer."""
    if request.serving.authorizer is None:
        raise RefusedError(
            ErrorCode.SECURITY_DISABLED,
            "access rules are not in force here: start the server with "
            "kafka.security.authorization=true",
        )


def acl_of(creation: Any) -> Acl:
    """Of CreateAcls. Raises RefusedError for numbers that mean nothing."""
    try:
        return Acl(
            resource=ResourceType(creation.resource_type),
            name=creation.resource_name,
            pattern=PatternType(getattr(creation, "resource_pattern_type", PatternType.LITERAL)),
            principal=creation.principal,
            host=creation.host,
            operation=Operation(creation.operation),
            permission=Permission(creation.permission_type),
        )
    except ValueError as error:
        raise RefusedError(ErrorCode.INVALID_REQUEST, str(error)) from None


def filter_of(wanted: Any) -> AclFilter:
    """Of DescribeAcls and DeleteAcls. Raises RefusedError for numbers that mean nothing."""
    try:
        return AclFilter(
            resource=ResourceType(wanted.resource_type_filter),
            name=wanted.resource_name_filter,
            pattern=PatternType(getattr(wanted, "pattern_type_filter", PatternType.LITERAL)),
            principal=wanted.principal_filter,
            host=wanted.host_filter,
            operation=Operation(wanted.operation),
            permission=Permission(wanted.permission_type),
        )
    except ValueError as error:
        raise RefusedError(ErrorCode.INVALID_REQUEST, str(error)) from None


def answer_of(acl: Acl) -> dict[str, Any]:
    return {
        "resource_type": acl.resource,
        "resource_name": acl.name,
        "pattern_type": acl.pattern,
        "principal": acl.principal,
        "host": acl.host,
        "operation": acl.operation,
        "permission_type": acl.permission,
    }
