package main

const greeting = "hello"
