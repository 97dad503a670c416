"""Users, access rules and quotas: pure rules, the records of them, and the verbs over both."""

from logstore.access.acls import AclIndex, check_acl, matches
from logstore.access.credentials import check_user_name, make_credential, verify_password
from logstore.access.quotas import QuotaIndex, TokenBucket, check_quota
from logstore.access.records import AccessState, is_access_key
from logstore.access.table import AccessTable

__all__ = [
    "AccessState",
    "AccessTable",
    "AclIndex",
    "QuotaIndex",
    "TokenBucket",
    "check_acl",
    "check_quota",
    "check_user_name",
    "is_access_key",
    "make_credential",
    "matches",
    "verify_password",
]
