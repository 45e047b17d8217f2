"""What the client's tests share: a scripted server, recognisable secrets and their detector, clients, samples."""
