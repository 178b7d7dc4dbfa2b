"""`idempotency_keys`: which wish a client's key stood for, for 7 days."""

from __future__ import annotations

from metawsm.bus.ports import Db

_FIND = "SELECT body_hash, command_id FROM idempotency_keys WHERE scope = ? AND key = ?"
_INSERT = """
INSERT INTO idempotency_keys (scope, key, body_hash, command_id, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT DO UPDATE SET body_hash = ?3, command_id = ?4, created_at = ?5
"""
_PRUNE = """
DELETE FROM idempotency_keys WHERE (scope, key) IN (
    SELECT scope, key FROM idempotency_keys WHERE created_at < ? ORDER BY created_at LIMIT ?)
"""


class IdempotencyKeys:
    """Implements `bus.submit.Keys`."""

    def find(self, db: Db, scope: str, key: str) -> tuple[bytes, str] | None:
        """The body hash and command id stored for this key, or None."""
        for body_hash, command_id in db.execute(_FIND, (scope, key)):
            return bytes(body_hash), str(command_id)
        return None

    def insert(self, db: Db, scope: str, key: str, body_hash: bytes, command_id: str, now: str) -> None:
        """Remember a key; one whose command is gone is taken over."""
        db.execute(_INSERT, (scope, key, body_hash, command_id, now))

    def prune(self, db: Db, before: str, limit: int) -> int:
        """Forget up to `limit` keys older than `before`; return how many."""
        db.execute(_PRUNE, (before, limit))
        return db.changes()
