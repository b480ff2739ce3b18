"""What to look at when DVC's words for a failure say too little. Left out: failures whose words are enough."""


def with_s3_hints(said: str) -> str:
    """Return what DVC said, and where S3 refused without a reason, what may be behind it."""
    if "when calling the HeadObject operation" not in said:
        return said
    return (
        f"{said}\nS3 gives no reason here: look at the keys (AWS_ACCESS_KEY_ID, AWS_PROFILE), and at the clocks of this"
        " machine and of the server, which must not be more than fifteen minutes apart."
    )
