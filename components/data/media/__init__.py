"""Media of rows, looked up once: every row with pictures, videos or sounds becomes canonical, its media references.

store = MediaStore(folder, memo, workspace, params.data)
write_raw_rows(path, table, store)                      # rows whose media are {"path", "sha256"}
store.write(raw / LIST)                                 # what they were made of
is_current(raw, folder, memo)                           # no file of theirs has changed since
"""

from components.data.media.current import LIST, changed, is_current, listed_media
from components.data.media.store import MediaStore

__all__ = ["LIST", "MediaStore", "changed", "is_current", "listed_media"]
