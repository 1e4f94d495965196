"""Low-rank factorizations with certificates: what scientists call and adapters stand on."""
