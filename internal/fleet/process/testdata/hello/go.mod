module hello.example

go 1.24
