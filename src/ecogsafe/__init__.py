"""De-identify, encrypt, copy to several places, prove it is there, bring it back."""

__version__ = "0.1.0"
