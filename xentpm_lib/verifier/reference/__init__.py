"""Reference values: captured, compared, carried from station to station. RFC 9334, section 8.3."""
