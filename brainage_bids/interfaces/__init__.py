"""The nipype rim: thin classes that open files and call one function below."""
