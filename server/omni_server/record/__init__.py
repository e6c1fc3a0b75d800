"""Sessions kept on disk, as they went over the wire."""
