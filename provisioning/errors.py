"""What can go wrong that a technician can mend."""


class ProvisioningError(Exception):
    """The message names the rule, the value and the cure."""

    exit_status = 1


class AuthorityError(ProvisioningError):
    """Something is wrong with the site's certificates, their folder or a request."""
