"""Hints for S3 errors that DVC reports without a reason."""


def with_s3_hints(output: str) -> str:
    """Return DVC's output; where S3 refused without a reason, add what to check."""
    if "when calling the HeadObject operation" not in output:
        return output
    return (
        f"{output}\nS3 gives no reason here. Check the keys (AWS_ACCESS_KEY_ID, AWS_PROFILE) and the clocks of this "
        "machine and of the server, which may differ by at most fifteen minutes."
    )
