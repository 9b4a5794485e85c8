"""What a dom0 offers: plain functions behind the XAPI plugin and the command lines."""
