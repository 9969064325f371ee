"""The lab key opened while the rest of the program is still being loaded: scrypt takes longer than that.

A guess only: it counts for the very key file and password that it was made of, and whoever has others opens
them as ever. Nothing but the ciphers is loaded for it.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future

from ecogsafe.core.private import Secret
from ecogsafe.crypt.lab_key import LabKey, open_lab_key


class UnlockAhead:
    """Begins at once, in a thread that nobody waits for who does not ask for its result.

    Parameters
    ----------
    sealed
        The lab key at rest.
    """

    def __init__(self, sealed: bytes, password: Secret) -> None:
        self._sealed = sealed
        self._password = password
        self._opened: Future[LabKey] = Future()
        threading.Thread(target=self._open, name="unlocker-ahead", daemon=True).start()

    def _open(self) -> None:
        try:
            self._opened.set_result(open_lab_key(self._sealed, self._password))
        except BaseException as error:  # noqa: BLE001  told to whoever asks for the key
            self._opened.set_exception(error)

    def open(self, sealed: bytes, password: Secret) -> LabKey:
        """Return the lab key in ``sealed``, from what was begun if it was begun with just that.

        Raises
        ------
        WrongPasswordError, LabKeyError
            As `ecogsafe.crypt.lab_key.open_lab_key`.
        """
        if sealed == self._sealed and password.reveal() == self._password.reveal():
            return self._opened.result()
        return open_lab_key(sealed, password)
