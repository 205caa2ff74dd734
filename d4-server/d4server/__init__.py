"""d4-server: takes D4 packets of authenticated sensors over TLS and stores their records in Redis streams.

A packet's way: connection → d4common.session (is it acceptable?) → lines (whole records) →
store (batches into Redis).
"""
